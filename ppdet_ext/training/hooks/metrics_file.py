"""The machine-readable record of a run."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import sync, write_atomic
from ppdet_ext.training.state import TrainState

from .base import Hook

logger = logging.getLogger("ppdet_ext")


class MetricsFile(Hook):
    """Writes `metrics.jsonl`: one JSON object per line, nothing in it depends on the clock.

    `{"kind": "train", "epoch", "step", "iteration", "learning_rate", "losses": {name: mean since the last line}}`
    each `log_iter` steps and at the end of an epoch; after an evaluation
    `{"kind": "eval", "epoch", "bbox": [12 numbers], "segm": […], "named": {"bbox": {"AP": …, "AP50": …}, "segm": {…}}}`.
    A resumed run first drops the lines of steps it will repeat. For rank 0.

    Args:
        path: of the file.
        log_iter: steps between lines.
    """

    def __init__(self, path: Path, log_iter: int) -> None:
        self.path = path
        self.log_iter = log_iter
        self._sums: dict[str, float] = {}
        self._count = 0

    def state_dict(self) -> dict[str, Any]:
        return {"sums": self._sums, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sums = {str(name): float(total) for name, total in state["sums"].items()}
        self._count = int(state["count"])

    def forget(self) -> None:
        """Begin a new mean: the run goes on elsewhere than the steps of the last one ended."""
        self._sums, self._count = {}, 0

    def before_train(self, state: TrainState) -> None:
        start, kept, damaged = state.start, [], []
        if self.path.exists():
            for number, line in enumerate(self.path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
                try:
                    entry = json.loads(line)
                    # An evaluation belongs to the end of its epoch.
                    if (entry["epoch"], entry.get("step", math.inf)) < start:
                        kept.append(line)
                except (json.JSONDecodeError, KeyError, TypeError):
                    damaged.append(number)
        if damaged:
            logger.warning("%s: dropped damaged lines %s", self.path, ", ".join(map(str, damaged)))
        text = "".join(line + "\n" for line in kept)
        write_atomic(self.path, lambda aside: aside.write_text(text, encoding="utf-8"))

    def before_save(self, state: TrainState) -> None:
        # Lines before the checkpoint would be missing for good.
        if self.path.exists():
            sync(self.path)

    def after_step(self, state: TrainState) -> None:
        for name, value in state.losses.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        # Of a skipped step there are none.
        self._count += bool(state.losses)
        if state.step % self.log_iter == 0 or state.step == state.steps_per_epoch - 1:
            losses = {name: total / self._count for name, total in self._sums.items()}
            self._append(
                {
                    "kind": "train",
                    "epoch": state.epoch,
                    "step": state.step,
                    "iteration": state.iteration,
                    "learning_rate": state.learning_rate,
                    "losses": losses,
                }
            )
            self._sums, self._count = {}, 0

    def after_epoch(self, state: TrainState) -> None:
        if state.metrics is not None:
            named = {"named": state.named} if state.named else {}
            self._append({"kind": "eval", "epoch": state.epoch, **state.metrics, **named})

    def _append(self, entry: dict[str, Any]) -> None:
        try:
            with self.path.open("a", encoding="utf-8") as stream:
                stream.write(json.dumps(entry) + "\n")
        except OSError as error:
            raise UserError(f"Cannot write {self.path}: {error.strerror or error}. Choose another save_dir.") from error
