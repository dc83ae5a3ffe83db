"""Where a training starts: from a checkpoint, pretrained weights, or fresh weights."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from ppdet_ext import distributed
from ppdet_ext.checkpoint import Checkpoint, Position, RunFingerprint, find_checkpoint, load_checkpoint
from ppdet_ext.checkpoint.archive import set_aside, set_aside_one
from ppdet_ext.checkpoint.compatibility import demand_allowed, differences, moved_position
from ppdet_ext.checkpoint.folder import CHECKPOINTS
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import remove_rests
from ppdet_ext.weights.files.class_names import Classes
from ppdet_ext.weights.load import load_pretrained

from .hooks import AverageWeights, MetricsFile, SaveCheckpoints
from .trainer import Trainer

logger = logging.getLogger("ppdet_ext")


def resume_or_start(
    trainer: Trainer,
    folder: Path,
    resume: str | None,
    allow_change: Sequence[str] = (),
    pretrain_weights: str | None = None,
) -> str:
    """Put the trainer where the run starts; rank 0 decides for all. Says where the weights come from.

    Args:
        trainer: freshly built.
        folder: the run's.
        resume: what `-r` says (see `find_checkpoint`); None starts anew.
        allow_change: kinds of change (keys of `CHANGES`) that do not hinder resuming.
        pretrain_weights: of a run that starts anew.

    Raises:
        UserError: no such checkpoint, damaged, or of another run than allowed; nothing in the folder has been moved.
    """
    found = None
    if trainer.state.rank == 0:
        if rests := remove_rests(folder / CHECKPOINTS):
            logger.warning("Removed what a save that was cut off left in %s: %s", folder / CHECKPOINTS, ", ".join(rests))
        if resume is not None:
            found = _choose(trainer, folder, resume, allow_change)
    found = distributed.share(found, "checkpoint to resume from")
    if found is None:
        _start_anew(trainer, folder, resume, pretrain_weights)
        return f"from {pretrain_weights}" if pretrain_weights else "from scratch"
    _go_on(trainer, folder, *found)
    return f"from {found[0].path}"


def _start_anew(trainer: Trainer, folder: Path, resume: str | None, pretrain_weights: str | None) -> None:
    if resume is not None:
        logger.info("No checkpoint in %s yet; starting anew", folder / CHECKPOINTS)
    if pretrain_weights:
        classes: Classes | None = getattr(trainer.state.model, "classes", None)
        load_pretrained(trainer.state.model, pretrain_weights, classes.names if classes else ())
    if trainer.state.rank == 0:
        set_aside(folder)


def _choose(
    trainer: Trainer, folder: Path, resume: str, allow_change: Sequence[str]
) -> tuple[Checkpoint, Position, bool] | None:
    """The checkpoint, where the run goes on, and whether the run is another one now."""
    checkpoint = find_checkpoint(resume, folder)
    if checkpoint is None or checkpoint.fingerprint is None:
        return None if checkpoint is None else (checkpoint, checkpoint.position, False)
    try:
        before = RunFingerprint(**checkpoint.fingerprint)
    except TypeError as error:
        raise UserError(f"Checkpoint {checkpoint.path} is of another version: {error}") from error
    now, state = trainer.fingerprint, trainer.state
    changes = differences(before, now)
    demand_allowed(changes, allow_change, str(checkpoint.path))
    for kind, lines in changes.items():
        logger.warning("Resuming with another %s: %s", kind, "; ".join(lines))
    if checkpoint.position.epoch >= state.epochs and not belongs_to(checkpoint.path, folder):
        raise UserError(f"{checkpoint.path} has all of the {state.epochs} epochs behind it; raise -o epoch=… to go on from it.")
    position = moved_position(checkpoint.position, before, now, list(changes), state.steps_per_epoch)
    return checkpoint, position, bool(changes)


def _go_on(trainer: Trainer, folder: Path, checkpoint: Checkpoint, position: Position, changed: bool) -> None:
    _load(trainer, checkpoint, position, changed)
    logger.info("Resumed from %s: %s of %d epochs", checkpoint.path, position, trainer.state.epochs)
    save = next((hook for hook in trainer.hooks if isinstance(hook, SaveCheckpoints)), None)
    own = belongs_to(checkpoint.path, folder)
    distributed.barrier("loaded the checkpoint")
    if save is not None and not own:
        # It is in the other run's folder.
        save.best, save.best_checkpoint = None, ""
    if trainer.state.rank == 0:
        set_aside(folder, checkpoint.position if own else None)
    if save is not None and checkpoint.fingerprint is not None:
        save.saved = checkpoint.path
    if save is not None and own and position != checkpoint.position:
        _save_moved(trainer, save, folder, position)


def belongs_to(checkpoint: Path, run: Path) -> bool:
    """Whether the checkpoint's folder is one of the run's, by whatever path they are named."""
    return run.resolve() in (checkpoint.resolve().parent, checkpoint.resolve().parent.parent)


def _save_moved(trainer: Trainer, save: SaveCheckpoints, folder: Path, position: Position) -> None:
    """Save where the changed run goes on: its checkpoints would be taken for older than the one it comes from."""
    if trainer.state.rank == 0:
        # Of the same name, and other content.
        set_aside_one(folder, position)
    save.save(trainer.state, position)
    if trainer.state.rank == 0:
        set_aside(folder, position)


def _load(trainer: Trainer, checkpoint: Checkpoint, position: Position, changed: bool) -> None:
    averaged = load_checkpoint(checkpoint, trainer.state.model, trainer.optimizer)
    for hook in trainer.hooks:
        if isinstance(hook, AverageWeights):
            hook.start(trainer.state.model.state_dict() if averaged is None else averaged)
    trainer.load_state_dict(checkpoint.state)
    trainer.state.start = position
    if changed:
        # Milestones are epochs, and an epoch may have another number of steps now.
        trainer.schedule.step(position.epoch * trainer.state.steps_per_epoch + position.step)
    if position != checkpoint.position:
        for hook in trainer.hooks:
            if isinstance(hook, MetricsFile):
                hook.forget()
