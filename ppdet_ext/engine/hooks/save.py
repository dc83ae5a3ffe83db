"""Saving during training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ppdet_ext.engine.checkpoint import save_checkpoint

from .base import Hook
from .evaluate import is_snapshot
from .metrics_file import METRICS_FILE

if TYPE_CHECKING:
    from ppdet_ext.engine.earlier_run import EarlierRun
    from ppdet_ext.engine.trainer import Trainer

logger = logging.getLogger("ppdet_ext.engine")


class SaveCheckpoints(Hook):
    """Saves under ppdet's names: `<epoch>` each `snapshot_epoch`, `model_final` at the end, `best_model` by mask AP.

    Args:
        folder: the run's folder.
        snapshot_epoch: epochs between checkpoints.

    Attributes:
        earlier: the run whose checkpoints the first save replaces, if any.
        saved: stem of the newest checkpoint saved here, suffixes left out.
    """

    def __init__(self, folder: Path, snapshot_epoch: int) -> None:
        self.folder = folder
        self.snapshot_epoch = snapshot_epoch
        self.earlier: EarlierRun | None = None
        self.saved: Path | None = None
        self.best: float | None = None
        self.best_epoch = -1

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.best, self.best_epoch = state["best"], state["best_epoch"]

    def after_epoch(self, trainer: Trainer) -> None:
        if not is_snapshot(trainer, self.snapshot_epoch):
            return
        # best_model goes first: the numbered checkpoint says what the best is, so that file must exist by then.
        if trainer.metrics is not None:
            self._keep_best(trainer, trainer.metrics)
        self._save(trainer, "model_final" if trainer.epoch == trainer.epochs - 1 else str(trainer.epoch))

    def _keep_best(self, trainer: Trainer, metrics: dict[str, list[float]]) -> None:
        kind = "segm" if "segm" in metrics else "bbox"
        value = metrics[kind][0]
        if self.best is None or value > self.best:
            self.best, self.best_epoch = value, trainer.epoch
            self._save(trainer, "best_model")
        name = {"segm": "mask", "bbox": "box"}[kind]
        logger.info("Best %s AP so far: %.3f (epoch %d)", name, self.best, self.best_epoch)

    def _save(self, trainer: Trainer, name: str) -> None:
        stem = self.folder / name
        first = self.earlier is not None and not self.earlier.replaced
        if first:
            self.earlier.set_aside()
        state = trainer.state_dict()
        with trainer.averaged_weights() as raw:
            save_checkpoint(stem, trainer.bare_model, trainer.optimizer, trainer.epoch + 1, state, raw)
        self.saved = stem
        if first:
            self.earlier.retire(stem, self.folder / METRICS_FILE)
        logger.info("Saved %s.pdparams", stem)
