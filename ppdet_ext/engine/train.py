"""Training from a configuration."""

import logging
from pathlib import Path

import numpy as np
import paddle
from ppdet.core.workspace import AttrDict

from . import distributed
from .build import build_model, build_optimizer, load_dataset, make_loader
from .checkpoint import find_checkpoint, load_checkpoint, newest_checkpoint
from .earlier_run import EarlierRun
from .evaluator import run_evaluation
from .hooks import AverageWeights, Evaluate, Hook, LogLine, MetricsFile, SaveCheckpoints, VisualDL, WaitForRank0
from .hooks.metrics_file import METRICS_FILE
from .interrupt import Interrupted
from .run_folder import describe_run, run_folder
from .trainer import Trainer
from .weights import load_pretrained

logger = logging.getLogger("ppdet_ext.engine")


def train(
    cfg: AttrDict,
    *,
    evaluate: bool = False,
    resume: str | None = None,
    amp: bool = False,
    vdl_log_dir: str | Path | None = None,
) -> Path:
    """Train as configured; returns the run's folder.

    Args:
        cfg: from `load_config`.
        evaluate: at each snapshot epoch, and keep the best model by mask AP.
        resume: a checkpoint's path, or 'auto' for the newest complete one of the run's folder (anew if
            there is none).
        amp: mixed precision; of effect on GPUs only.
        vdl_log_dir: write VisualDL scalars there.

    Raises:
        UserError: for what the user can mend.
        DivergenceError: a loss became NaN or infinite.
    """
    # Optimizer state is filed under generated layer names; the guard makes them the same in every run.
    with paddle.utils.unique_name.guard():
        distributed.use_device(cfg.use_gpu)
        distributed.start()
        folder = run_folder(cfg)
        if distributed.world()[0] == 0:
            describe_run(folder, cfg)
        trainer = _build_trainer(cfg, folder, evaluate, amp and _amp_works(cfg), vdl_log_dir)
        _begin(trainer, cfg, folder, resume)
        if trainer.start_epoch < cfg.epoch:
            _run(trainer, resume)
        else:
            logger.info("All %d epochs are trained already: %s", cfg.epoch, folder)
    return folder


def _run(trainer: Trainer, resume: str | None) -> None:
    """Train; an interruption says what there is to go on from (`Interrupted`)."""
    try:
        trainer.run()
    except KeyboardInterrupt as error:
        save = next((hook for hook in trainer.hooks if isinstance(hook, SaveCheckpoints)), None)
        if save is None:
            raise
        # After -r PATH the folder may hold checkpoints of more epochs than this run's, which 'auto' would take.
        named = resume not in (None, "auto")
        raise Interrupted(save.saved, str(save.saved) if named else "auto") from error


def _amp_works(cfg: AttrDict) -> bool:
    if not cfg.use_gpu:
        logger.warning("--amp has no effect on a CPU; training in float32")
    return cfg.use_gpu


def _build_trainer(cfg: AttrDict, folder: Path, evaluate: bool, amp: bool, vdl_log_dir: str | Path | None) -> Trainer:
    dataset = load_dataset(cfg, "TrainDataset")
    loader = make_loader(cfg, dataset, "train")
    # The seed of the weights a model starts from.
    paddle.seed(cfg.seed)
    np.random.seed(cfg.seed)
    model = build_model(cfg)
    schedule, optimizer = build_optimizer(cfg, model, len(loader))
    rank, ranks = distributed.world()
    parallel = distributed.parallel(model, cfg.find_unused_parameters)
    hooks = _hooks(cfg, folder, evaluate, vdl_log_dir) if rank == 0 else []
    if ranks > 1:
        hooks.append(WaitForRank0())
    return Trainer(
        parallel,
        optimizer,
        schedule,
        loader,
        epochs=cfg.epoch,
        batch_size=cfg.TrainReader["batch_size"],
        seed=cfg.seed,
        amp=amp,
        hooks=hooks,
        rank=rank,
    )


def _hooks(cfg: AttrDict, folder: Path, evaluate: bool, vdl_log_dir: str | Path | None) -> list[Hook]:
    hooks: list[Hook] = [LogLine(cfg.log_iter)]
    if cfg.use_ema:
        hooks.append(AverageWeights(cfg.ema_decay))
    if evaluate:
        dataset = load_dataset(cfg, "EvalDataset")
        loader = make_loader(cfg, dataset, "eval")

        def evaluate_model(model: paddle.nn.Layer) -> dict[str, list[float]]:
            outcome = run_evaluation(model, dataset, loader)
            logger.info("%s", outcome.metric.summary)
            return outcome.numbers

        hooks.append(Evaluate(evaluate_model, cfg.snapshot_epoch))
    hooks.append(MetricsFile(folder / METRICS_FILE, cfg.log_iter))
    if vdl_log_dir is not None:
        hooks.append(VisualDL(Path(vdl_log_dir), cfg.log_iter))
    return [*hooks, SaveCheckpoints(folder, cfg.snapshot_epoch)]


def _begin(trainer: Trainer, cfg: AttrDict, folder: Path, resume: str | None) -> None:
    """Put the trainer where the run starts: a checkpoint, pretrained weights, or fresh weights."""
    checkpoint = newest_checkpoint(folder) if resume == "auto" else find_checkpoint(resume) if resume else None
    if checkpoint is not None:
        average = next((hook for hook in trainer.hooks if isinstance(hook, AverageWeights)), None)
        load_checkpoint(checkpoint, trainer.bare_model, trainer.optimizer, average)
        trainer.load_state_dict(checkpoint.state)
        trainer.start_epoch = checkpoint.epoch
        logger.info("Resumed from %s: %d of %d epochs done", checkpoint.stem, checkpoint.epoch, cfg.epoch)
        return
    if resume == "auto":
        logger.info("No complete checkpoint in %s yet; starting anew", folder)
    if cfg.pretrain_weights:
        load_pretrained(trainer.bare_model, cfg.pretrain_weights)
    if trainer.rank == 0:
        earlier = EarlierRun(folder)
        for hook in trainer.hooks:
            if isinstance(hook, (SaveCheckpoints, MetricsFile)):
                hook.earlier = earlier
