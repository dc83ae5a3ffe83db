"""Saving during training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ppdet_ext import distributed
from ppdet_ext.checkpoint import Position, export_weights
from ppdet_ext.checkpoint.folder import BEST, CHECKPOINTS, FINAL, WEIGHTS, list_folders
from ppdet_ext.files.atomic import digest, remove_folder
from ppdet_ext.training.state import TrainState

from .base import Hook, Kind
from .evaluate import decisive

logger = logging.getLogger("ppdet_ext")


class SaveCheckpoints(Hook):
    """Saves each `snapshot_epoch` epochs, each `snapshot_iter` steps, at the end, and when the run is told to stop.

    Beside the checkpoints there are `model_final.pdparams` at the end and `best_model.pdparams` (see `decisive`). Rank 0
    writes, the others wait.

    Args:
        folder: the run's folder.
        snapshot_epoch: epochs between checkpoints.
        snapshot_iter: steps between further checkpoints within an epoch; None saves at ends of epochs only.
        keep: number of newest checkpoints that are kept, beside the best one.

    Attributes:
        saved: folder of the newest checkpoint of this run, also one it was resumed from.
    """

    kind = Kind.SAVE

    def __init__(
        self,
        folder: Path,
        snapshot_epoch: int,
        snapshot_iter: int | None = None,
        keep: int = 3,
    ) -> None:
        self.folder = folder
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

    def before_train(self, state: TrainState) -> None:
        self.start = state.start
        if state.rank == 0:
            self.restore_exports(state.epochs)
            if self.snapshot_iter and self.snapshot_iter > state.steps_per_epoch:
                text = "snapshot_iter: %d has no effect, an epoch has %d steps"
                logger.warning(text, self.snapshot_iter, state.steps_per_epoch)

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

    def after_step(self, state: TrainState) -> None:
        done = state.step + 1
        # At an epoch's last step its end, with the evaluation, is the better moment.
        end = done == state.steps_per_epoch and state.is_snapshot(self.snapshot_epoch)
        if self.snapshot_iter and done % self.snapshot_iter == 0 and not end:
            self.save(state, Position(state.epoch, done))

    def after_epoch(self, state: TrainState) -> None:
        if not state.is_snapshot(self.snapshot_epoch):
            return
        position = Position(state.epoch + 1, 0)
        better = state.metrics is not None and self._is_best(state.metrics, position)
        saved = self.save(state, position)
        if state.rank == 0 and better:
            export_weights(saved, self.folder / BEST)
        if state.rank == 0 and position.epoch == state.epochs:
            export_weights(saved, self.folder / FINAL)
            logger.info("Saved %s", self.folder / FINAL)

    def on_stop(self, state: TrainState, position: Position) -> None:
        # Without a step since, what the run was resumed from is the same and complete.
        if position not in (self.start, self.written):
            self.save(state, position)

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

    def save(self, state: TrainState, position: Position) -> Path:
        """Save at `position`, delete what need not be kept; gives the checkpoint's folder. Every rank calls it."""
        folder = self.folder / CHECKPOINTS / position.name
        distributed.phase(f"saving {position.name}")
        if state.rank == 0:
            state.save_to(folder, position)
            logger.info("Saved %s", folder)
            self._prune(folder)
        self.saved, self.written = folder, position
        # Whoever ends while rank 0 still writes has the launcher end rank 0.
        distributed.barrier(f"saved {position.name}")
        return folder

    def _prune(self, newest: Path) -> None:
        for folder in list_folders(self.folder)[self.keep :]:
            if folder != newest and folder.name != self.best_checkpoint:
                try:
                    remove_folder(folder)
                except OSError as error:
                    logger.warning("Cannot delete %s: %s", folder, error.strerror or error)
