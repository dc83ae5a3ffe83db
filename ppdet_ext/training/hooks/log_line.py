"""What a training says while it runs: ppdet's line each `log_iter` steps."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping

from ppdet_ext.host import SmoothedValue
from ppdet_ext.modeling.segmentation.losses.base import is_map_loss
from ppdet_ext.training.run_log import log_detail
from ppdet_ext.training.state import TrainState

from .base import Hook

TOTAL = "loss"
# Of 'loss_bbox_cls_stage1' the part it belongs to, 'bbox'; of 'loss_l1' (PP-YOLOE) 'l1'.
_PART = re.compile(r"(?:loss_)?([^_]+)")


def grouped(losses: Mapping[str, float]) -> dict[str, float]:
    """Sums of the losses of one part of a model ('rpn', 'bbox', 'mask', …), after the total, 'loss'.

    The losses of a segmentor's list are no parts of a model: each stays by itself.
    """
    sums: dict[str, float] = {TOTAL: losses[TOTAL]} if TOTAL in losses else {}
    for name, value in losses.items():
        match = _PART.match(name)
        if name != TOTAL:
            part = name.removeprefix("loss_") if is_map_loss(name) else match[1] if match else name
            sums[part] = sums.get(part, 0.0) + value
    return sums


class LogLine(Hook):
    """Logs ppdet's training line, with the losses summed by parts of the model; all of them are in `metrics.jsonl`.

    A terminal shows `ProgressBar` in its place, and the line is in the run's log file. Losses are medians, costs are means
    of the last `log_iter` steps.

    Args:
        log_iter: steps between lines, and size of the window.
    """

    def __init__(self, log_iter: int) -> None:
        self.log_iter = log_iter
        self.losses: dict[str, SmoothedValue] = {}
        self.batch_cost = SmoothedValue(log_iter)
        self.data_cost = SmoothedValue(log_iter)

    def after_step(self, state: TrainState) -> None:
        for name, value in grouped(state.losses).items():
            self.losses.setdefault(name, SmoothedValue(self.log_iter)).update(value)
        self.batch_cost.update(state.batch_cost)
        self.data_cost.update(state.data_cost)
        if state.step % self.log_iter == 0:
            log_detail(self.line(state))

    def line(self, state: TrainState) -> str:
        """Line for the present step, of at most 200 characters for up to five parts."""
        steps = state.steps_per_epoch
        left = (state.epochs - state.epoch) * steps - state.step
        eta = datetime.timedelta(seconds=int(left * self.batch_cost.global_avg))
        medians = {name: meter.median for name, meter in self.losses.items()}
        total = f"{TOTAL}: {medians.pop(TOTAL):.4f} " if TOTAL in medians else ""
        parts = " ".join(f"{name} {value:.3f}" for name, value in medians.items())
        return (
            f"Epoch: [{state.epoch}] [{state.step:{len(str(steps))}d}/{steps}] "
            f"learning_rate: {state.learning_rate:.6f} {total}({parts}) eta: {eta} "
            f"batch_cost: {self.batch_cost.avg:.3f} data_cost: {self.data_cost.avg:.3f} "
            f"ips: {state.batch_size / self.batch_cost.avg:.2f} images/s"
        )
