"""The line per `log_iter` steps that ppdet's users know."""

from __future__ import annotations

import datetime
import logging

from ppdet.utils.stats import SmoothedValue

from ppdet_ext.training.state import TrainState

from .base import Hook

logger = logging.getLogger("ppdet_ext.engine")


class LogLine(Hook):
    """Logs ppdet's training line; losses are medians and costs are means of the last `log_iter` steps.

    Args:
        log_iter: steps between lines, and size of the window.
    """

    def __init__(self, log_iter: int) -> None:
        self.log_iter = log_iter
        self.losses: dict[str, SmoothedValue] = {}
        self.batch_cost = SmoothedValue(log_iter)
        self.data_cost = SmoothedValue(log_iter)

    def after_step(self, state: TrainState) -> None:
        for name, value in state.losses.items():
            self.losses.setdefault(name, SmoothedValue(self.log_iter)).update(value)
        self.batch_cost.update(state.batch_cost)
        self.data_cost.update(state.data_cost)
        if state.step % self.log_iter == 0:
            logger.info(self.line(state))

    def line(self, state: TrainState) -> str:
        """Line for the present step."""
        steps = state.steps_per_epoch
        left = (state.epochs - state.epoch) * steps - state.step
        eta = datetime.timedelta(seconds=int(left * self.batch_cost.global_avg))
        losses = " ".join(f"{name}: {meter.median:.6f}" for name, meter in self.losses.items())
        return (
            f"Epoch: [{state.epoch}] [{state.step:{len(str(steps))}d}/{steps}] "
            f"learning_rate: {state.learning_rate:.6f} {losses} eta: {eta} "
            f"batch_cost: {self.batch_cost.avg:.4f} data_cost: {self.data_cost.avg:.4f} "
            f"ips: {state.batch_size / self.batch_cost.avg:.4f} images/s"
        )
