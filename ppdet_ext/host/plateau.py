"""The learning rate that is lowered when a number stops improving."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from paddle.optimizer.lr import LRScheduler

_SMALLEST_CHANGE = 1e-8  # as torch's and Paddle's `eps`


class PlateauSchedule(LRScheduler):
    """A rate that `report` lowers; the rule is that of torch's ReduceLROnPlateau. `step` counts steps, for the warm-up.

    All of it is in `state_dict`, so that it goes with the optimizer's state of a checkpoint.

    Args:
        base_lr: rate to begin with.
        metric: what is to be reported: "loss", or a metric's name.
        lower_is_better: or higher.
        factor: of the rate when it is lowered.
        patience: reports without improvement that are borne.
        threshold: how much better counts as better.
        relative: the threshold is a share of the best.
        cooldown: reports after a reduction that do not count.
        min_lr: lowest rate.
        warmup: rates of the first steps.

    Attributes:
        rate: after the warm-up.
        best: of the reports; None before the first.
        num_bad_epochs: reports since then that were not better.
        cooldown_counter: reports that will not count.
        reported: number of the last epoch reported; -1 before the first.
    """

    def __init__(
        self,
        base_lr: float,
        *,
        metric: str = "loss",
        lower_is_better: bool = True,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        relative: bool = True,
        cooldown: int = 0,
        min_lr: float = 0.0,
        warmup: Sequence[float] = (),
    ) -> None:
        self.metric, self.sign = metric, 1 if lower_is_better else -1
        self.factor, self.patience, self.cooldown, self.min_lr = factor, patience, cooldown, min_lr
        self.threshold, self.relative, self.warmup = threshold, relative, list(warmup)
        self.rate = float(base_lr)
        self.best: float | None = None
        self.num_bad_epochs = self.cooldown_counter = 0
        self.reported = -1
        super().__init__(base_lr)

    def state_keys(self) -> None:
        """Name what `state_dict` holds."""
        self.keys = ["last_epoch", "last_lr", "rate", "best", "num_bad_epochs", "cooldown_counter", "reported"]

    def set_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave; of another schedule's state, that of a changed run, what there is."""
        super().set_state_dict({**self.state_dict(), **{key: state_dict[key] for key in self.keys if key in state_dict}})

    set_dict = set_state_dict

    def get_lr(self) -> float:
        """The rate of step `last_epoch`, which paddle calls an epoch."""
        return float(self.warmup[self.last_epoch]) if self.last_epoch < len(self.warmup) else self.rate

    def report(self, value: float, epoch: int) -> bool:
        """Take an epoch's number, each epoch once; says whether the rate has been lowered. NaN is no improvement."""
        if epoch <= self.reported:
            return False
        self.reported = epoch
        if self._is_better(value):
            self.best, self.num_bad_epochs = float(value), 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs <= self.patience:
            return False
        self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        lowered = max(self.rate * self.factor, self.min_lr)
        if self.rate - lowered <= _SMALLEST_CHANGE:
            return False
        self.rate = lowered
        self.last_lr = self.get_lr()
        return True

    def _is_better(self, value: float) -> bool:
        if math.isnan(value):
            return False
        if self.best is None:
            return True
        margin = self.threshold * abs(self.best) if self.relative else self.threshold
        return self.sign * value < self.sign * self.best - margin
