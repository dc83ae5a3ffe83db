"""A training in one line of a terminal."""

from __future__ import annotations

import datetime
import os
import sys
from pathlib import Path

import paddle
from tqdm import tqdm

from ppdet_ext.checkpoint import Position
from ppdet_ext.host import SmoothedValue
from ppdet_ext.training.state import TrainState

from .base import Hook

TOTAL = "loss"
# The speed is that of so many of the last steps.
WINDOW = 20
# The bar takes what the words leave of the line: in 80 columns they are all that fits.
FORMAT = "{desc}: step {n_fmt}/{total_fmt} |{bar}| "


class ProgressBar(Hook):
    """Shows epoch, step, loss, images a second, the time left of the whole run, and memory; only on a terminal.

    Speed and loss are of the last 20 steps, the loss their median. The time left goes by the mean of all steps of this run and
    does not know how long evaluations take. Images are those of one rank.
    """

    def __init__(self) -> None:
        self.bar: tqdm | None = None
        self.cost, self.loss = SmoothedValue(WINDOW), SmoothedValue(WINDOW)

    def before_epoch(self, state: TrainState) -> None:
        if sys.stderr.isatty():
            self.bar = tqdm(
                total=state.steps_per_epoch,
                initial=state.step,
                desc=f"Epoch {state.epoch} of {state.epochs}",
                bar_format=FORMAT,
                dynamic_ncols=True,
                leave=False,
            )

    def after_step(self, state: TrainState) -> None:
        if self.bar is None:
            return
        self.cost.update(state.batch_cost)
        if TOTAL in state.losses:
            self.loss.update(state.losses[TOTAL])
        # There are no braces in the words; tqdm's own postfix would begin with a comma.
        self.bar.bar_format = FORMAT + self.words(state)
        self.bar.update(1)
        if state.step == state.steps_per_epoch - 1:
            self.bar.refresh()
            self._close()

    def words(self, state: TrainState) -> str:
        """What is said beside the bar."""
        left = (state.epochs - state.epoch) * state.steps_per_epoch - state.step - 1
        time_left = datetime.timedelta(seconds=int(left * self.cost.global_avg))
        loss = f"{TOTAL} {self.loss.median:.4f}  " if self.loss.count else ""
        speed = state.batch_size / max(self.cost.avg, 1e-9)
        return f"{loss}{speed:.2f} images/s  {time_left} left  {memory_in_use() / 2**30:.1f} GiB"

    def on_stop(self, state: TrainState, position: Position) -> None:
        self._close()

    def _close(self) -> None:
        if self.bar is not None:
            self.bar.close()
            self.bar = None


def memory_in_use() -> int:
    """Bytes: on a GPU the most that tensors have taken of its memory, on a CPU what the process has now."""
    if paddle.device.get_device().startswith("gpu"):
        return int(paddle.device.cuda.max_memory_allocated())
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, IndexError, ValueError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")
