"""Where a training starts: from a checkpoint, pretrained weights, or fresh weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from . import distributed
from .checkpoint import Checkpoint, Circumstances, Position, find_checkpoint, load_checkpoint
from .checkpoint.changes import demand_allowed, differences, moved_position
from .checkpoint.folder import CHECKPOINTS
from .earlier_run import set_aside
from .hooks import AverageWeights, SaveCheckpoints
from .trainer import Trainer
from .weights import load_pretrained

logger = logging.getLogger("ppdet_ext.engine")


def begin(
    trainer: Trainer,
    folder: Path,
    circumstances: Circumstances,
    resume: str | None,
    allow_change: Sequence[str] = (),
    pretrain_weights: str | None = None,
) -> None:
    """Put the trainer where the run starts; rank 0 decides for all.

    Args:
        trainer: freshly built.
        folder: the run's.
        circumstances: of this run.
        resume: what `-r` says (see `find_checkpoint`); None starts anew.
        allow_change: kinds of change (keys of `CHANGES`) that do not hinder resuming.
        pretrain_weights: of a run that starts anew.

    Raises:
        UserError: no such checkpoint, damaged, or of another run than allowed; nothing is half-loaded.
    """
    found = None
    if trainer.rank == 0 and resume is not None:
        found = _choose(trainer, folder, circumstances, resume, allow_change)
    found = distributed.share(found)
    if found is None:
        if resume is not None:
            logger.info("No checkpoint in %s yet; starting anew", folder / CHECKPOINTS)
        elif trainer.rank == 0:
            set_aside(folder)
        if pretrain_weights:
            load_pretrained(trainer.bare_model, pretrain_weights)
        return
    checkpoint, position, changed = found
    if trainer.rank == 0:
        own = folder in (checkpoint.path.parent, checkpoint.path.parent.parent)
        set_aside(folder, checkpoint.position if own else None)
    _load(trainer, checkpoint, position, changed)
    logger.info("Resumed from %s: %s of %d epochs", checkpoint.path, position, trainer.epochs)


def _load(trainer: Trainer, checkpoint: Checkpoint, position: Position, changed: bool) -> None:
    average = next((hook for hook in trainer.hooks if isinstance(hook, AverageWeights)), None)
    load_checkpoint(checkpoint, trainer.bare_model, trainer.optimizer, average)
    trainer.load_state_dict(checkpoint.state)
    trainer.start_epoch, trainer.start_step = position
    if changed:
        # Milestones are epochs, and an epoch may have another number of steps now.
        trainer.schedule.step(position.epoch * trainer.steps_per_epoch + position.step)
    save = next((hook for hook in trainer.hooks if isinstance(hook, SaveCheckpoints)), None)
    if save is not None and checkpoint.circumstances is not None:
        save.saved = checkpoint.path


def _choose(
    trainer: Trainer, folder: Path, now: Circumstances, resume: str, allow_change: Sequence[str]
) -> tuple[Checkpoint, Position, bool] | None:
    """The checkpoint, where the run goes on, and whether its circumstances have changed."""
    checkpoint = find_checkpoint(resume, folder)
    if checkpoint is None or checkpoint.circumstances is None:
        return None if checkpoint is None else (checkpoint, checkpoint.position, False)
    before = Circumstances(**checkpoint.circumstances)
    changes = differences(before, now)
    demand_allowed(changes, allow_change, str(checkpoint.path))
    for kind, lines in changes.items():
        logger.warning("Resuming with another %s: %s", kind, "; ".join(lines))
    position = moved_position(checkpoint.position, before, now, list(changes), trainer.steps_per_epoch)
    return checkpoint, position, bool(changes)
