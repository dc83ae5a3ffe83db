"""Training from a configuration: this is where it ends; what is built here takes values."""

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppdet_ext import distributed
from ppdet_ext.checkpoint import RunFingerprint, fingerprint_of
from ppdet_ext.checkpoint.find import AUTO, find_checkpoint
from ppdet_ext.checkpoint.folder import CURVES, EVENTS, LOG_FILE, METRICS_FILE
from ppdet_ext.checkpoint.run_folder import describe_run, environment, run_folder
from ppdet_ext.config.keys import CLASSIFIER, ENSEMBLE, VIEWS
from ppdet_ext.config.load import dump_config
from ppdet_ext.data.datasets.relabelled import labelled_as
from ppdet_ext.data.loading.build import load_dataset, make_loader, reader_of
from ppdet_ext.distributed import interrupt
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.distributed.progress import log_above_bars
from ppdet_ext.errors import UserError, counted
from ppdet_ext.evaluation.run import metrics_of
from ppdet_ext.files.lock import locked
from ppdet_ext.host import Config
from ppdet_ext.host.build import build_model, build_optimizer, scaled_rate
from ppdet_ext.host.plateau import PlateauSchedule
from ppdet_ext.host.registry import build_entries
from ppdet_ext.host.start import demand_weights
from ppdet_ext.inference.build import reading_of, steps_of, warn_of_other_range
from ppdet_ext.inference.predictor import lowest_score
from ppdet_ext.weights.files.class_names import Classes

from .evaluation import BestFound, evaluation_hook, warn_of_data
from .hooks import (
    AverageWeights,
    Evaluate,
    Hook,
    LogLine,
    MetricsFile,
    ProgressBar,
    ReportToSchedule,
    SaveCheckpoints,
    TensorBoard,
    VisualDL,
)
from .loss_guard import LossGuard
from .pictures import validation_pictures
from .resume import belongs_to, resume_or_start
from .run_log import RunLog, recorded
from .summary import Estimate, EvaluationTable, computing, objects_by_class
from .trainer import Trainer

logger = logging.getLogger("ppdet_ext")


def train(
    cfg: Config,
    *,
    evaluate: bool = False,
    resume: str | None = None,
    amp: bool = False,
    use_vdl: bool = False,
    vdl_log_dir: str | Path | None = None,
    allow_change: Sequence[str] = (),
    hooks: Sequence[Hook] = (),
    best: BestFound | None = None,
) -> Path:
    """Train as configured; returns the run's folder. Every rank calls it.

    Args:
        cfg: from `load_config`.
        evaluate: at each snapshot epoch, and keep the best model by the first metric (of COCO the mask AP, else the box AP).
        resume: what `find_checkpoint` takes; with 'auto' the run starts anew where there is no checkpoint.
        amp: mixed precision; of effect on GPUs only.
        use_vdl: write curves for VisualDL, to `vdl_log_dir` or `vdl` in the run's folder.
        allow_change: what may differ from the run that is resumed; keys of `checkpoint.CHANGES`.
        hooks: further ones, beside those of the configuration; called on every rank (see `Hook`).
        best: keeps what the best evaluation finds.

    Raises:
        UserError: for what the user can mend.
        DivergenceError: a loss became NaN or infinite.
        Interrupted: a signal came; what is needed to go on has been saved.
        RankError: another rank failed.
    """
    folder = _join_ranks(cfg, resume)
    curves = Path(vdl_log_dir or folder / CURVES) if use_vdl else None
    save = SaveCheckpoints(folder, cfg.snapshot_epoch, cfg.snapshot_iter, cfg.keep_checkpoints)
    with _supervised(cfg, folder, save), recorded() as log:
        dataset = load_dataset(cfg, "TrainDataset")
        parts = [*_hooks(cfg, dataset, folder, evaluate, curves, best), *hooks, save]
        trainer = _build_trainer(cfg, dataset, folder, parts, amp and _amp_works(cfg))
        interrupt.check()
        origin = resume_or_start(trainer, folder, resume, allow_change, cfg.pretrain_weights)
        lines = [*_plan(cfg, dataset, trainer, amp), f"Weights {origin}", *_places(cfg, folder, curves)]
        _run(cfg, folder, trainer, save, lines, log)
    return folder


def _join_ranks(cfg: Config, resume: str | None) -> Path:
    """The run's folder, on ranks that have met and know that there is something to start from."""
    distributed.use_device(cfg.use_gpu)
    distributed.start()
    folder = run_folder(cfg)
    on_rank_0(lambda: _demand_start(cfg, folder, resume), "looking at what to start from")
    return folder


def _demand_start(cfg: Config, folder: Path, resume: str | None) -> None:
    """UserError where the run would start from nothing, but needs weights."""
    try:
        demand_weights(cfg)
    except UserError:
        if resume is None or (resume == AUTO and find_checkpoint(resume, folder) is None):
            raise


def _run(cfg: Config, folder: Path, trainer: Trainer, save: SaveCheckpoints, lines: Sequence[str], log: RunLog) -> None:
    """Train what is left to be trained, after `lines` for the log."""
    if trainer.state.rank == 0:
        describe_run(folder, cfg)
        log.open(folder / LOG_FILE)
    if trainer.state.start.epoch >= cfg.epoch:
        save.before_train(trainer.state)
        logger.info("All %d epochs are trained already: %s", cfg.epoch, save.saved)
        return
    if trainer.state.rank == 0:
        for line in lines:
            logger.info("%s", line)
    trainer.train()


def _plan(cfg: Config, dataset: Any, trainer: Trainer, amp: bool) -> list[str]:
    """What is trained, on what: lines for the log."""
    state, ranks = trainer.state, distributed.world()[1]
    parameters = sum(int(np.prod(one.shape)) for one in state.model.parameters())
    device = f"{ranks} × {paddle.device.get_device()}" if ranks > 1 else paddle.device.get_device()
    images = state.batch_size * ranks
    return [
        f"Training {cfg.architecture}, {parameters:,} parameters, on {device}",
        computing(os.environ.get("OMP_NUM_THREADS"), cfg.worker_num, amp and cfg.use_gpu),
        "\n".join(objects_by_class("TrainDataset", dataset.records, dataset.class_names)),
        f"{counted(len(dataset), 'images')} × {counted(state.epochs, 'epochs')}, {counted(state.steps_per_epoch, 'steps')} of "
        f"{counted(images, 'images')} in each",
    ]


def _places(cfg: Config, folder: Path, curves: Path | None) -> list[str]:
    """Where results go: lines for the log."""
    viewers = [f"visualdl --logdir {curves}"] if curves else []
    viewers += [f"tensorboard --logdir {folder / EVENTS}"] if cfg.tensorboard else []
    log = f"All log lines go to {folder / LOG_FILE}, means of the losses to {folder / METRICS_FILE}"
    return [f"Results go to {folder}", log, *(f"See curves with: {viewer}" for viewer in viewers)]


@contextlib.contextmanager
def _supervised(cfg: Config, folder: Path, save: SaveCheckpoints) -> Iterator[None]:
    """The block is a run of its own: its ranks watch each other, signals stop it in order, and no other is in its folder."""
    # Optimizer state is filed under generated layer names; the guard makes them the same in every run.
    with (
        paddle.utils.unique_name.guard(),
        distributed.monitored(cfg.stall_timeout),
        _interruptible(folder, save),
        log_above_bars(),
        contextlib.nullcontext() if distributed.world()[0] else locked(folder),
    ):
        yield


@contextlib.contextmanager
def _interruptible(folder: Path, save: SaveCheckpoints) -> Iterator[None]:
    """Signals stop the training in order; the interruption says what there is to go on from (`Interrupted`)."""
    try:
        with interrupt.deferred():
            yield
    except interrupt.Stop as stop:
        # After -r PATH of another run its checkpoint is what this one goes on from until it has saved one itself.
        auto = save.saved is None or belongs_to(save.saved, folder)
        raise interrupt.Interrupted(stop.signum, save.saved, AUTO if auto else str(save.saved)) from stop


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
    model = _build_model(cfg, dataset)
    rank, ranks = distributed.world()
    accumulation = cfg.gradient_accumulation_steps
    batch_size = cfg.TrainReader.get("batch_size", 1) * accumulation
    rate = scaled_rate(cfg.LearningRate["base_lr"], cfg.base_batch_size, batch_size * ranks)
    schedule, optimizer = build_optimizer(cfg, model, -(-len(loader) // accumulation), rate)
    return Trainer(
        distributed.parallel(model, cfg.find_unused_parameters, apart=not cfg.use_gpu),
        optimizer,
        schedule,
        loader,
        _fingerprint(cfg, dataset, amp),
        epochs=cfg.epoch,
        batch_size=batch_size,
        seed=cfg.seed,
        amp=amp,
        accumulation=accumulation,
        hooks=[*hooks, *_reporters(cfg, schedule, hooks)],
        guard=LossGuard(cfg.skip_nonfinite, folder),
        rank=rank,
    )


def _reporters(cfg: Config, schedule: paddle.optimizer.lr.LRScheduler, hooks: Sequence[Hook]) -> list[Hook]:
    """What tells a schedule that goes by losses or metrics how an epoch went."""
    if not isinstance(schedule, PlateauSchedule):
        return []
    names = [cfg.metric] if isinstance(cfg.metric, str) else list(cfg.metric)
    numbers = [one for name in names for one in (("segm", "bbox") if name == "COCO" else (name,))]
    evaluated = any(isinstance(hook, Evaluate) for hook in hooks)
    return [ReportToSchedule(schedule, numbers if evaluated else None)]


def _build_model(cfg: Config, dataset: Any) -> paddle.nn.Layer:
    """The model with the weights that a run from scratch starts from."""
    paddle.seed(cfg.seed)
    np.random.seed(cfg.seed)
    model = build_model(cfg)
    model = distributed.synchronize_norms(model, getattr(getattr(model, "backbone", None), "norm_type", None))
    model.classes = Classes.of(dataset)
    return model


def _hooks(cfg: Config, dataset: Any, folder: Path, evaluate: bool, curves: Path | None, best: BestFound | None) -> list[Hook]:
    """Averaging, evaluation and what the configuration names are on every rank, records on the first."""
    hooks: list[Hook] = [AverageWeights(cfg.ema_decay)] if cfg.use_ema else []
    if evaluate:
        hooks.append(_evaluation_hook(cfg, dataset, best))
    if distributed.world()[0] == 0:
        metrics = folder / METRICS_FILE
        hooks += [
            LogLine(cfg.log_iter),
            ProgressBar(),
            Estimate(),
            MetricsFile(metrics, cfg.log_iter),
            EvaluationTable(metrics),
        ]
        hooks += [TensorBoard(folder / EVENTS, cfg.log_iter)] if cfg.tensorboard else []
        hooks += [] if curves is None else [VisualDL(curves, cfg.log_iter, _pictures(cfg, dataset) if evaluate else None)]
    return [*hooks, *build_entries(cfg.get("hooks") or [], "hook", "hooks")]


def _pictures(cfg: Config, trained_on: Any) -> Callable[[paddle.nn.Layer], dict[str, np.ndarray]] | None:
    """Draws what a model finds in a few images of EvalDataset, if any are wanted."""
    if not cfg.vdl_pictures:
        return None
    dataset = evaluated(cfg, trained_on)
    steps = steps_of(cfg, dataset.class_names, dataset.category_ids)
    return validation_pictures(dataset, reader_of(cfg, "eval"), steps, cfg.vdl_pictures, lowest_score(cfg, None))


def evaluated(cfg: Config, trained_on: Any) -> Any:
    """EvalDataset, read, with the labels that classes of these names have in the training."""
    return labelled_as(load_dataset(cfg, "EvalDataset"), trained_on.class_names, "TrainDataset", "EvalDataset")


def _evaluation_hook(cfg: Config, trained_on: Any, best: BestFound | None) -> Evaluate:
    """Evaluates one view of the model as it is, with the configured steps and metrics, on EvalDataset."""
    dataset = evaluated(cfg, trained_on)
    steps = steps_of(cfg, dataset.class_names, dataset.category_ids)
    loader, reading = make_loader(cfg, dataset, "eval"), reading_of(cfg, "eval")
    hook = evaluation_hook(dataset, loader, steps, lambda: metrics_of(cfg), cfg.snapshot_epoch, reading, best)
    if distributed.world()[0] == 0:
        warn_of_other_range(cfg, "eval")
        warn_of_data(trained_on, dataset)
        for key in (VIEWS, ENSEMBLE, CLASSIFIER):
            if cfg.get(key):
                logger.warning("%s is for tools/eval.py and the others; in training one view of this model is evaluated", key)
    return hook
