"""The machine-readable record of a run."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .base import Hook

if TYPE_CHECKING:
    from ppdet_ext.engine.earlier_run import EarlierRun
    from ppdet_ext.engine.trainer import Trainer

METRICS_FILE = "metrics.jsonl"
logger = logging.getLogger("ppdet_ext.engine")


class MetricsFile(Hook):
    """Writes `metrics.jsonl`: one JSON object per line, nothing in it depends on the clock.

    `{"kind": "train", "epoch", "step", "iteration", "learning_rate", "losses": {name: mean since the last line}}`
    each `log_iter` steps and at the end of an epoch, `{"kind": "eval", "epoch", "bbox": [12 numbers], "segm": […]}`
    after an evaluation. A resumed run first drops the lines of epochs it will repeat; one that starts anew over
    an earlier run (`earlier`) writes `metrics.new.jsonl` until it has replaced that.
    """

    def __init__(self, path: Path, log_iter: int) -> None:
        self.path = path
        self.log_iter = log_iter
        self._sums: dict[str, float] = {}
        self._count = 0
        self.earlier: EarlierRun | None = None

    def _target(self) -> Path:
        return self.earlier.metrics_path(self.path) if self.earlier else self.path

    def before_train(self, trainer: Trainer) -> None:
        # Left by a run that ended before it saved anything.
        self.path.with_name(f"{self.path.stem}.new{self.path.suffix}").unlink(missing_ok=True)
        if self._target() != self.path:
            return
        kept = []
        if self.path.exists():
            for number, line in enumerate(self.path.read_text(encoding="utf-8").splitlines(), 1):
                try:
                    if json.loads(line)["epoch"] < trainer.start_epoch:
                        kept.append(line)
                except (json.JSONDecodeError, KeyError, TypeError):
                    logger.warning("%s line %d is damaged and was dropped", self.path, number)
        self.path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def after_step(self, trainer: Trainer) -> None:
        for name, value in trainer.losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._count += 1
        if trainer.step % self.log_iter == 0 or trainer.step == trainer.steps_per_epoch - 1:
            losses = {name: total / self._count for name, total in self._sums.items()}
            self._append(
                {
                    "kind": "train",
                    "epoch": trainer.epoch,
                    "step": trainer.step,
                    "iteration": trainer.iteration,
                    "learning_rate": trainer.learning_rate,
                    "losses": losses,
                }
            )
            self._sums, self._count = {}, 0

    def after_epoch(self, trainer: Trainer) -> None:
        if trainer.metrics is not None:
            self._append({"kind": "eval", "epoch": trainer.epoch, **trainer.metrics})

    def _append(self, entry: dict[str, Any]) -> None:
        with self._target().open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(entry) + "\n")
