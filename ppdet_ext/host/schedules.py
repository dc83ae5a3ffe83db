"""Learning-rate schedules beside ppdet's: on a plateau, one cycle, flat then cosine, cosine with restarts.

In a configuration each is the first of `LearningRate.schedulers`; a warm-up of ppdet may be the second.
"""

import logging
import math
from collections.abc import Callable, Sequence
from typing import Any

import ppdet.optimizer.optimizer as host
from paddle.optimizer.lr import LRScheduler
from ppdet.core.workspace import serializable

from ppdet_ext.errors import UserError

from .plateau import PlateauSchedule
from .registry import number_in, one_of, replace_module, whole_number_in

logger = logging.getLogger("ppdet_ext")
Rates = Callable[[int], float]


class StepSchedule(LRScheduler):
    """The rate as a function of the step, so that a resumed run needs nothing but the step's number.

    Args:
        rates: step, from 0 -> rate.
        total: steps for which the function is made; after them the last rate stays.
        warmup: rates of the first steps, in place of the function's.
    """

    def __init__(self, rates: Rates, total: int | None, warmup: Sequence[float] = ()) -> None:
        self.rates, self.total_steps, self.warmup = rates, total, list(warmup)
        super().__init__(rates(0))

    def get_lr(self) -> float:
        """The rate of step `last_epoch`, which paddle calls an epoch."""
        step = self.last_epoch if self.total_steps is None else min(self.last_epoch, self.total_steps - 1)
        return float(self.warmup[step] if step < len(self.warmup) else self.rates(step))


class RateSchedule:
    """What a configuration names: makes the schedule of a run from its rate and its number of steps in an epoch."""

    use_warmup = True

    def schedule(self, base_lr: float, steps_per_epoch: int, warmup: Sequence[float]) -> LRScheduler:
        """The schedule, of which ppdet's `LearningRate` says the rate; `warmup` are the rates of the first steps."""
        raise NotImplementedError


def cosine(start: float, end: float, share: float) -> float:
    """From `start` at share 0 to `end` at 1, along half a cosine."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


@serializable
class ReduceOnPlateau(RateSchedule):
    """Lowers the rate when a number has not become better for a while, as torch's ReduceLROnPlateau.

    Args:
        factor: of the rate, each time.
        patience: epochs (of a metric: evaluations) without improvement that are borne.
        metric: "loss", the mean training loss of an epoch; or a metric of `metric:`, which needs --eval.
        mode: "min" or "max"; by default min of the loss and max of a metric.
        threshold: how much better counts as better.
        threshold_mode: "rel", a share of the best; or "abs".
        cooldown: epochs after a reduction in which nothing is counted.
        min_lr: the rate does not go below this.

    Raises:
        UserError: a number out of its range.
    """

    def __init__(
        self,
        factor: float = 0.1,
        patience: int = 10,
        metric: str = "loss",
        mode: str | None = None,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: float = 0.0,
    ) -> None:
        name = "ReduceOnPlateau"
        self.factor, self.patience = number_in(factor, f"{name}.factor", 0, 1), whole_number_in(patience, f"{name}.patience", 0)
        self.metric = metric
        self.mode = one_of(mode or ("min" if metric == "loss" else "max"), ("min", "max"), f"{name}.mode")
        self.threshold = number_in(threshold, f"{name}.threshold", 0)
        self.relative = one_of(threshold_mode, ("rel", "abs"), f"{name}.threshold_mode") == "rel"
        self.cooldown, self.min_lr = whole_number_in(cooldown, f"{name}.cooldown", 0), number_in(min_lr, f"{name}.min_lr", 0)

    def schedule(self, base_lr: float, steps_per_epoch: int, warmup: Sequence[float]) -> LRScheduler:
        return PlateauSchedule(
            base_lr,
            metric=self.metric,
            lower_is_better=self.mode == "min",
            factor=self.factor,
            patience=self.patience,
            threshold=self.threshold,
            relative=self.relative,
            cooldown=self.cooldown,
            min_lr=self.min_lr,
            warmup=warmup,
        )


@serializable
class OneCycle(RateSchedule):
    """Up to base_lr and down to nearly nothing (arXiv 1708.07120), as torch's OneCycleLR; momentum stays as it is.

    Args:
        max_epochs: length of the run, in epochs.
        pct_start: share of the steps that go up.
        div_factor: base_lr / this is the first rate.
        final_div_factor: the first rate / this is the last one.
        anneal: "cos" or "linear".
    """

    def __init__(
        self,
        max_epochs: int,
        pct_start: float = 0.3,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        anneal: str = "cos",
    ) -> None:
        self.max_epochs = whole_number_in(max_epochs, "OneCycle.max_epochs", 1)
        self.pct_start = number_in(pct_start, "OneCycle.pct_start", 0, 1)
        self.div_factor = number_in(div_factor, "OneCycle.div_factor", 1)
        self.final_div_factor = number_in(final_div_factor, "OneCycle.final_div_factor", 1)
        self.linear = one_of(anneal, ("cos", "linear"), "OneCycle.anneal") == "linear"

    def schedule(self, base_lr: float, steps_per_epoch: int, warmup: Sequence[float]) -> LRScheduler:
        if warmup:
            raise UserError("LearningRate.schedulers: OneCycle begins low by itself; leave out the warm-up.")
        total = self.max_epochs * steps_per_epoch
        first, top, last = base_lr / self.div_factor, self.pct_start * total - 1, total - 1

        def between(start: float, end: float, share: float) -> float:
            return start + (end - start) * share if self.linear else cosine(start, end, share)

        def rate(step: int) -> float:
            if step <= top and top > 0:
                return between(first, base_lr, step / top)
            return between(base_lr, first / self.final_div_factor, (step - top) / (last - top) if last > top else 1.0)

        return StepSchedule(rate, total)


@serializable
class FlatCosine(RateSchedule):
    """base_lr for a while, then half a cosine down to nothing, as it goes with RAdam and LookAhead.

    Args:
        max_epochs: length of the run, in epochs.
        flat: share of the steps with base_lr.
        min_lr_ratio: the last rate, as a share of base_lr.
    """

    def __init__(self, max_epochs: int, flat: float = 0.7, min_lr_ratio: float = 0.0) -> None:
        self.max_epochs = whole_number_in(max_epochs, "FlatCosine.max_epochs", 1)
        self.flat = number_in(flat, "FlatCosine.flat", 0, 1)
        self.min_lr_ratio = number_in(min_lr_ratio, "FlatCosine.min_lr_ratio", 0, 1)

    def schedule(self, base_lr: float, steps_per_epoch: int, warmup: Sequence[float]) -> LRScheduler:
        total = self.max_epochs * steps_per_epoch
        begin = round(self.flat * total)

        def rate(step: int) -> float:
            if step < begin:
                return base_lr
            return cosine(base_lr, self.min_lr_ratio * base_lr, (step - begin) / max(total - begin, 1))

        return StepSchedule(rate, total, warmup)


@serializable
class CosineRestarts(RateSchedule):
    """Half cosines from base_lr down, each longer than the last (arXiv 1608.03983), as torch's CosineAnnealingWarmRestarts.

    Args:
        first_epochs: length of the first one.
        factor: by which each is longer.
        min_lr: the lowest rate.
    """

    def __init__(self, first_epochs: int, factor: int = 1, min_lr: float = 0.0) -> None:
        self.first_epochs = whole_number_in(first_epochs, "CosineRestarts.first_epochs", 1)
        self.factor = whole_number_in(factor, "CosineRestarts.factor", 1)
        self.min_lr = number_in(min_lr, "CosineRestarts.min_lr", 0)

    def schedule(self, base_lr: float, steps_per_epoch: int, warmup: Sequence[float]) -> LRScheduler:
        def rate(step: int) -> float:
            length = self.first_epochs * steps_per_epoch
            while step >= length:
                step, length = step - length, length * self.factor
            return cosine(base_lr, self.min_lr, step / length)

        return StepSchedule(rate, None, warmup)


OURS = {cls.__name__: cls for cls in (ReduceOnPlateau, OneCycle, FlatCosine, CosineRestarts)}


@replace_module
class LearningRate(host.LearningRate):
    """Builds the schedule; one of ppdet's own classes is built by ppdet, bit by bit as ever.

    Args:
        base_lr: the rate that the schedules go by.
        schedulers: the schedule, and ppdet's warm-up if there is to be one.
    """

    def __init__(self, base_lr: float = 0.01, schedulers: Sequence[Any] = [host.PiecewiseDecay(), host.LinearWarmup()]) -> None:
        super().__init__(number_in(base_lr, "LearningRate.base_lr", 0), [_ours(one) for one in schedulers])

    def __call__(self, step_per_epoch: int) -> LRScheduler:
        """The schedule over steps, of which an epoch has so many."""
        if not self.schedulers or not isinstance(self.schedulers[0], RateSchedule):
            return super().__call__(step_per_epoch)
        warmup: list[float] = []
        for one in self.schedulers[1:]:
            if not isinstance(one, (host.LinearWarmup, host.ExpWarmup)):
                raise UserError(
                    "LearningRate.schedulers: after the schedule there may be one warm-up, LinearWarmup or ExpWarmup."
                )
            _, values = one(self.base_lr, step_per_epoch)
            warmup = values[:-1]
        return self.schedulers[0].schedule(self.base_lr, step_per_epoch, warmup)


def _ours(scheduler: Any) -> Any:
    """A scheduler; ppdet's form {name: Class, …} of ours as an object."""
    if isinstance(scheduler, dict) and scheduler.get("name") in OURS:
        return OURS[scheduler["name"]](**{key: value for key, value in scheduler.items() if key != "name"})
    return scheduler


def warn_of_length(schedule: LRScheduler, epochs: int, steps_per_epoch: int) -> None:
    """Warn where a schedule is made for another number of steps than the run has, with the override that mends it."""
    total, steps = getattr(schedule, "total_steps", None), epochs * steps_per_epoch
    if total is not None and total != steps:
        logger.warning(
            "LearningRate: the schedule is made for %d steps and the run has %d; set its max_epochs to the run's epochs: "
            "-o LearningRate.schedulers.0.max_epochs=%d",
            total,
            steps,
            epochs,
        )
