"""Saving during training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppdet_ext import distributed
from ppdet_ext.checkpoint import Position, RunFingerprint, export_weights, save_checkpoint
from ppdet_ext.checkpoint.folder import BEST, CHECKPOINTS, FINAL, WEIGHTS, list_folders
from ppdet_ext.files.atomic import digest, remove_folder

from .base import Hook
from .evaluate import decisive, is_snapshot

if TYPE_CHECKING:
    from ppdet_ext.training.trainer import Trainer

logger = logging.getLogger("ppdet_ext.engine")


class SaveCheckpoints(Hook):
    """Saves each `snapshot_epoch` epochs, each `snapshot_iter` steps, at the end, and when the run is told to stop.

    Beside the checkpoints there are `model_final.pdparams` at the end and `best_model.pdparams` by mask AP. Rank 0
    writes, the others wait. Stands last, so that the checkpoint holds what the other hooks have done.

    Args:
        folder: the run's folder.
        fingerprint: of the run.
        snapshot_epoch: epochs between checkpoints.
        snapshot_iter: steps between further checkpoints within an epoch; None saves at ends of epochs only.
        keep: number of newest checkpoints that are kept, beside the best one.

    Attributes:
        saved: folder of the newest checkpoint of this run, also one it was resumed from.
    """

    def __init__(
        self,
        folder: Path,
        fingerprint: RunFingerprint,
        snapshot_epoch: int,
        snapshot_iter: int | None = None,
        keep: int = 3,
    ) -> None:
        self.folder = folder
        self.fingerprint = fingerprint
        self.snapshot_epoch = snapshot_epoch
        self.snapshot_iter = snapshot_iter
        self.keep = keep
        self.saved: Path | None = None
        self.start = Position(0, 0)
        self.written: Position | None = None
        self.best: float | None = None
        self.best_metric = self.best_checkpoint = ""

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_metric": self.best_metric, "best_checkpoint": self.best_checkpoint}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_checkpoint = state["best"], str(state["best_checkpoint"])
        self.best_metric = str(state.get("best_metric", ""))

    def before_train(self, trainer: Trainer) -> None:
        self.start = Position(trainer.start_epoch, trainer.start_step)
        if trainer.rank == 0:
            self.restore_exports(trainer.epochs)
            if self.snapshot_iter and self.snapshot_iter > trainer.steps_per_epoch:
                text = "snapshot_iter: %d has no effect, an epoch has %d steps"
                logger.warning(text, self.snapshot_iter, trainer.steps_per_epoch)

    def restore_exports(self, epochs: int) -> None:
        """Copy weights out of their checkpoints again where a run of so many epochs was ended between the two."""
        if self.best_checkpoint:
            self._restore(BEST, self.folder / CHECKPOINTS / self.best_checkpoint)
        if self.saved is not None and self.saved.name == Position(epochs, 0).name:
            self._restore(FINAL, self.saved)

    def _restore(self, name: str, checkpoint: Path) -> None:
        target, source = self.folder / name, checkpoint / WEIGHTS
        if not source.is_file():
            logger.warning("%s was taken of %s, which is not there any more", name, checkpoint.name)
        if source.is_file() and not (target.is_file() and digest(target) == digest(source)):
            export_weights(checkpoint, target)
            logger.info("Restored %s from %s", target, checkpoint.name)

    def after_step(self, trainer: Trainer) -> None:
        done = trainer.step + 1
        # At an epoch's last step its end, with the evaluation, is the better moment.
        end = done == trainer.steps_per_epoch and is_snapshot(trainer, self.snapshot_epoch)
        if self.snapshot_iter and done % self.snapshot_iter == 0 and not end:
            self.save(trainer, Position(trainer.epoch, done))

    def after_epoch(self, trainer: Trainer) -> None:
        if not is_snapshot(trainer, self.snapshot_epoch):
            return
        position = Position(trainer.epoch + 1, 0)
        better = trainer.metrics is not None and self._is_best(trainer.metrics, position)
        self.save(trainer, position)
        if trainer.rank == 0 and better:
            export_weights(self.saved, self.folder / BEST)
        if trainer.rank == 0 and position.epoch == trainer.epochs:
            export_weights(self.saved, self.folder / FINAL)
            logger.info("Saved %s", self.folder / FINAL)

    def on_stop(self, trainer: Trainer, position: Position) -> None:
        # Without a step since, what the run was resumed from is the same and complete.
        if position not in (self.start, self.written):
            self.save(trainer, position)

    def on_divergence(self, trainer: Trainer, folder: Path) -> None:
        if trainer.rank == 0:
            self._write(trainer, folder, Position(trainer.epoch, trainer.step), finite=False)

    def _is_best(self, metrics: dict[str, list[float]], position: Position) -> bool:
        name, value = decisive(metrics)
        # Without a name it is of a time when there was COCO's AP alone.
        if self.best is not None and name != (self.best_metric or (name if name.endswith(" AP") else "")):
            if distributed.world()[0] == 0:
                logger.warning("The best so far was chosen by %s, from now on by %s", self.best_metric or "COCO's AP", name)
            self.best = None
        better = self.best is None or value > self.best
        if better:
            self.best, self.best_metric, self.best_checkpoint = value, name, position.name
        if distributed.world()[0] == 0:
            logger.info("Best %s so far: %.3f (%s)", name, self.best, self.best_checkpoint)
        return better

    def save(self, trainer: Trainer, position: Position) -> None:
        """Save at `position`, delete what need not be kept; every rank calls it."""
        folder = self.folder / CHECKPOINTS / position.name
        distributed.phase(f"saving {position.name}")
        if trainer.rank == 0:
            self._write(trainer, folder, position)
            logger.info("Saved %s", folder)
            self._prune(folder)
        self.saved, self.written = folder, position
        # Whoever ends while rank 0 still writes has the launcher end rank 0.
        distributed.barrier(f"saved {position.name}")

    def _write(self, trainer: Trainer, folder: Path, position: Position, finite: bool = True) -> None:
        for hook in trainer.hooks:
            hook.before_save(trainer)
        state = trainer.state_dict()
        with trainer.averaged_weights() as own:
            model, optimizer = trainer.bare_model, trainer.optimizer
            save_checkpoint(folder, model, optimizer, position, state, self.fingerprint, own, finite=finite)

    def _prune(self, newest: Path) -> None:
        for folder in list_folders(self.folder)[self.keep :]:
            if folder != newest and folder.name != self.best_checkpoint:
                try:
                    remove_folder(folder)
                except OSError as error:
                    logger.warning("Cannot delete %s: %s", folder, error.strerror or error)
