"""Training from a configuration."""

import contextlib
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppdet_ext import distributed
from ppdet_ext.checkpoint import RunFingerprint, fingerprint_of
from ppdet_ext.checkpoint.find import AUTO, find_checkpoint
from ppdet_ext.checkpoint.folder import METRICS_FILE
from ppdet_ext.checkpoint.run_folder import describe_run, environment, run_folder
from ppdet_ext.config.load import dump_config
from ppdet_ext.data.loading.build import load_dataset, make_loader
from ppdet_ext.distributed import interrupt
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.errors import UserError
from ppdet_ext.files.lock import locked
from ppdet_ext.host import Config
from ppdet_ext.host.build import build_model, build_optimizer, scaled_rate
from ppdet_ext.host.start import demand_weights
from ppdet_ext.weights.files.class_names import Classes

from .evaluation import evaluation_hook
from .hooks import AverageWeights, Hook, LogLine, MetricsFile, SaveCheckpoints, VisualDL
from .loss_guard import LossGuard
from .resume import belongs_to, resume_or_start
from .trainer import Trainer

logger = logging.getLogger("ppdet_ext.engine")


def train(
    cfg: Config,
    *,
    evaluate: bool = False,
    resume: str | None = None,
    amp: bool = False,
    vdl_log_dir: str | Path | None = None,
    allow_change: Sequence[str] = (),
    hooks: Sequence[Hook] = (),
) -> Path:
    """Train as configured; returns the run's folder. Every rank calls it.

    Args:
        cfg: from `load_config`.
        evaluate: at each snapshot epoch, and keep the best model by mask AP.
        resume: 'auto' for the newest complete checkpoint of the run's folder (anew if there is none), an epoch's number, or
            a path; see `find_checkpoint`.
        amp: mixed precision; of effect on GPUs only.
        vdl_log_dir: write VisualDL scalars there.
        allow_change: what may differ from the run that is resumed; keys of `checkpoint.CHANGES`.
        hooks: further ones, called on every rank before the one that saves.

    Raises:
        UserError: for what the user can mend.
        DivergenceError: a loss became NaN or infinite.
        Interrupted: a signal came; what is needed to go on has been saved.
        RankError: another rank failed.
    """
    distributed.use_device(cfg.use_gpu)
    distributed.start()
    folder = run_folder(cfg)
    on_rank_0(lambda: _demand_start(cfg, folder, resume), "looking at what to start from")
    # Optimizer state is filed under generated layer names; the guard makes them the same in every run.
    with (
        paddle.utils.unique_name.guard(),
        distributed.monitored(cfg.stall_timeout),
        _interruptible(folder) as trainers,
        contextlib.nullcontext() if distributed.world()[0] else locked(folder),
    ):
        dataset = load_dataset(cfg, "TrainDataset")
        amp = amp and _amp_works(cfg)
        save = SaveCheckpoints(folder, cfg.snapshot_epoch, cfg.snapshot_iter, cfg.keep_checkpoints)
        trainer = _build_trainer(
            cfg, dataset, folder, [*_hooks(cfg, dataset, folder, evaluate, vdl_log_dir), *hooks, save], amp
        )
        trainers.append(trainer)
        interrupt.check()
        resume_or_start(trainer, folder, resume, allow_change, cfg.pretrain_weights)
        _run(cfg, folder, trainer, save)
    return folder


def _demand_start(cfg: Config, folder: Path, resume: str | None) -> None:
    """UserError where the run would start from nothing, but needs weights."""
    try:
        demand_weights(cfg)
    except UserError:
        if resume is None or (resume == AUTO and find_checkpoint(resume, folder) is None):
            raise


def _run(cfg: Config, folder: Path, trainer: Trainer, save: SaveCheckpoints) -> None:
    if trainer.state.rank == 0:
        describe_run(folder, cfg)
    if trainer.state.start.epoch < cfg.epoch:
        trainer.train()
    else:
        save.before_train(trainer.state)
        logger.info("All %d epochs are trained already: %s", cfg.epoch, save.saved)


@contextlib.contextmanager
def _interruptible(folder: Path) -> Iterator[list[Trainer]]:
    """Signals stop the training in order; the interruption says what there is to go on from (`Interrupted`)."""
    trainers: list[Trainer] = []
    try:
        with interrupt.deferred():
            yield trainers
    except interrupt.Stop as stop:
        saved = trainers[0].hooks[-1].saved if trainers else None
        # After -r PATH of another run its checkpoint is what this one goes on from until it has saved one itself.
        auto = saved is None or belongs_to(saved, folder)
        raise interrupt.Interrupted(stop.signum, saved, AUTO if auto else str(saved)) from stop


def _amp_works(cfg: Config) -> bool:
    if not cfg.use_gpu:
        logger.warning("--amp has no effect on a CPU; training in float32")
    return cfg.use_gpu


def _fingerprint(cfg: Config, dataset: Any, amp: bool) -> RunFingerprint:
    rank, ranks = distributed.world()
    seen = dataset if rank == 0 else None
    return fingerprint_of(cfg.resolved, seen, ranks, amp, dump_config(cfg), environment()["versions"])


def _build_trainer(cfg: Config, dataset: Any, folder: Path, hooks: list[Hook], amp: bool) -> Trainer:
    loader = make_loader(cfg, dataset, "train")
    # The seed of the weights a model starts from.
    paddle.seed(cfg.seed)
    np.random.seed(cfg.seed)
    model = build_model(cfg)
    model = distributed.synchronize_norms(model, getattr(getattr(model, "backbone", None), "norm_type", None))
    model.classes = Classes.of(dataset)
    rank, ranks = distributed.world()
    accumulation = cfg.gradient_accumulation_steps
    images = cfg.TrainReader.get("batch_size", 1) * ranks * accumulation
    rate = scaled_rate(cfg.LearningRate["base_lr"], cfg.base_batch_size, images)
    schedule, optimizer = build_optimizer(cfg, model, -(-len(loader) // accumulation), rate)
    return Trainer(
        distributed.parallel(model, cfg.find_unused_parameters, apart=not cfg.use_gpu),
        optimizer,
        schedule,
        loader,
        _fingerprint(cfg, dataset, amp),
        epochs=cfg.epoch,
        batch_size=cfg.TrainReader.get("batch_size", 1) * accumulation,
        seed=cfg.seed,
        amp=amp,
        accumulation=accumulation,
        hooks=hooks,
        guard=LossGuard(cfg.skip_nonfinite, folder),
        rank=rank,
    )


def _hooks(cfg: Config, dataset: Any, folder: Path, evaluate: bool, vdl_log_dir: str | Path | None) -> list[Hook]:
    """Averaging and evaluation are on every rank, records on the first."""
    first = distributed.world()[0] == 0
    hooks: list[Hook] = [LogLine(cfg.log_iter)] if first else []
    if cfg.use_ema:
        hooks.append(AverageWeights(cfg.ema_decay))
    if evaluate:
        hooks.append(evaluation_hook(cfg, dataset))
    if first:
        hooks.append(MetricsFile(folder / METRICS_FILE, cfg.log_iter))
    if first and vdl_log_dir is not None:
        hooks.append(VisualDL(Path(vdl_log_dir), cfg.log_iter))
    return hooks
