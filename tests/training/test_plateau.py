"""What a schedule that goes by losses or metrics is told at the end of an epoch, and what it cannot be told."""

import json
from types import SimpleNamespace
from typing import Any

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.host.plateau import PlateauSchedule
from ppdet_ext.training.hooks import ReportToSchedule


def state(epoch: int, step: int, loss: float | None = None, metrics: dict[str, list[float]] | None = None) -> Any:
    return SimpleNamespace(epoch=epoch, step=step, losses={} if loss is None else {"loss": loss}, metrics=metrics)


def test_the_mean_loss_of_each_epoch_counts() -> None:
    schedule = PlateauSchedule(1.0, patience=0, factor=0.5)
    hook = ReportToSchedule(schedule, None)
    rates = []
    # The second step of epoch 1 was skipped; epoch 2 is worse than 1 on the whole, though not in its last step.
    for epoch, losses in enumerate([[4.0, 2.0], [2.0, None], [5.0, 1.0], [None, None]]):
        for step, loss in enumerate(losses):
            hook.after_step(state(epoch, step, loss))
            fresh = ReportToSchedule(schedule, None)
            fresh.load_state_dict(json.loads(json.dumps(hook.state_dict())))
            hook = fresh
        hook.after_epoch(state(epoch, 1))
        hook.after_epoch(state(epoch, 1))
        rates.append(schedule())
    assert schedule.best == 2.0
    assert rates == [1.0, 1.0, 0.5, 0.25]


def test_a_metric_counts_where_there_was_an_evaluation() -> None:
    schedule = PlateauSchedule(1.0, patience=0, factor=0.5, metric="SeverstalDice", lower_is_better=False)
    hook = ReportToSchedule(schedule, ["SeverstalDice", "MeanIoU"])
    rates = []
    for epoch, value in enumerate([0.5, None, 0.6, 0.6]):
        hook.after_epoch(state(epoch, 1, 1.0, None if value is None else {"MeanIoU": [9.0], "SeverstalDice": [value, 0.0]}))
        rates.append(schedule())
    assert rates == [1.0, 1.0, 1.0, 0.5]


@pytest.mark.parametrize(("metric", "evaluated", "message"), [
    ("SeverstalDice", None, "train with --eval, or take metric: loss"),
    ("SeverstalDise", ["SeverstalDice"], "is not evaluated. Did you mean 'SeverstalDice'.* There are loss, Sev"),
])  # fmt: skip
def test_a_metric_that_nothing_measures(metric: str, evaluated: list[str] | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ReportToSchedule(PlateauSchedule(1.0, metric=metric), evaluated)
