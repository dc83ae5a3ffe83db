"""Telling the schedule how an epoch went, where the learning rate depends on it."""

from __future__ import annotations

import logging
import math
from collections.abc import Collection
from typing import Any

from ppdet_ext import distributed
from ppdet_ext.errors import UserError, nearest
from ppdet_ext.host.plateau import PlateauSchedule
from ppdet_ext.training.state import TrainState

from .base import Hook

LOSS = "loss"
logger = logging.getLogger("ppdet_ext")


class ReportToSchedule(Hook):
    """Reports each epoch's mean training loss, or a metric of each evaluation, to a `PlateauSchedule`. On every rank.

    Skipped steps have no loss and are not in the mean; an epoch without any loss counts as no improvement.

    Args:
        schedule: of this run.
        metrics: names of what is evaluated; None where nothing is.

    Raises:
        UserError: the schedule's metric is none of them.
    """

    def __init__(self, schedule: PlateauSchedule, metrics: Collection[str] | None) -> None:
        self.schedule = schedule
        self._sum, self._count = 0.0, 0
        wanted = schedule.metric
        if wanted != LOSS and metrics is None:
            raise UserError(f"ReduceOnPlateau.metric: {wanted} is of an evaluation; train with --eval, or take metric: {LOSS}.")
        if wanted != LOSS and wanted not in (metrics or ()):
            known = [LOSS, *(metrics or ())]
            raise UserError(
                f"ReduceOnPlateau.metric: {wanted!r} is not evaluated.{nearest(wanted, known)} There are {', '.join(known)}."
            )

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self._sum, "count": self._count}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._sum, self._count = float(state["sum"]), int(state["count"])

    def after_step(self, state: TrainState) -> None:
        if state.step == 0:
            # Here and not at an epoch's end, which may be repeated.
            self._sum, self._count = 0.0, 0
        if state.losses:
            self._sum, self._count = self._sum + state.losses[LOSS], self._count + 1

    def after_epoch(self, state: TrainState) -> None:
        if self.schedule.metric != LOSS:
            if state.metrics is None:
                return
            value = state.metrics[self.schedule.metric][0]
        else:
            value = self._sum / self._count if self._count else math.nan
        lowered = self.schedule.report(value, state.epoch)
        if lowered and distributed.world()[0] == 0:
            logger.info(
                "%s has not improved on %.5g: learning rate lowered to %g",
                self.schedule.metric,
                self.schedule.best,
                self.schedule.rate,
            )
