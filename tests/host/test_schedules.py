"""Learning rates of each epoch or step as torch's, and schedules that go on from their state."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from ppdet.optimizer.optimizer import CosineDecay, LinearWarmup, PiecewiseDecay

from ppdet_ext.errors import UserError
from ppdet_ext.host.plateau import PlateauSchedule
from ppdet_ext.host.schedules import (
    CosineRestarts,
    FlatCosine,
    LearningRate,
    OneCycle,
    ReduceOnPlateau,
    StepSchedule,
    warn_of_length,
)

GOLDEN = Path(__file__).resolve().parents[1] / "modeling" / "golden"
CASES = json.loads((GOLDEN / "smp_optim.json").read_text())["schedules"]
PLATEAUS = [case for case in CASES if case["scheduler"] == "ReduceLROnPlateau"]
BASES = (1e-3, 1e-2)


def steps_of(case: dict[str, Any], base: float) -> Any:
    """The schedule of a case that goes by steps."""
    given = case["kwargs"]
    return {
        "CosineAnnealingLR": lambda: CosineDecay(given["T_max"], False, given["eta_min"] / base),
        "CosineAnnealingWarmRestarts": lambda: CosineRestarts(given["T_0"], given["T_mult"], given["eta_min"]),
        "OneCycleLR": lambda: OneCycle(given["total_steps"]),
        "MultiStepLR": lambda: PiecewiseDecay([given["gamma"], given["gamma"] ** 2], given["milestones"], use_warmup=False),
    }[case["scheduler"]]()


@pytest.mark.parametrize("which", range(2))
@pytest.mark.parametrize("case", [case for case in CASES if case not in PLATEAUS], ids=lambda case: case["scheduler"])
def test_rates_of_steps(case: dict[str, Any], which: int) -> None:
    base = case["kwargs"]["max_lr"][which] if case["scheduler"] == "OneCycleLR" else BASES[which]
    schedule = LearningRate(base, [steps_of(case, base)])(1)
    for expected in case["lr_before_each"]:
        assert schedule() == pytest.approx(expected[which], rel=1e-9, abs=1e-15)
        schedule.step()


@pytest.mark.parametrize("which", range(2))
@pytest.mark.parametrize("case", PLATEAUS, ids=lambda case: f"{case['sequence']}-{case['kwargs']}")
def test_rates_on_a_plateau(case: dict[str, Any], which: int) -> None:
    """Resumed after each report, too."""
    given = {"mode": "min", **case["kwargs"]}
    schedule = LearningRate(BASES[which], [ReduceOnPlateau(**given)])(3)
    for epoch, (value, expected) in enumerate(zip(case["metric"], case["lr_after_each"])):
        for _ in range(3):
            schedule.step()
        before = schedule()
        assert schedule.report(math.nan if value is None else value, epoch) == (expected[which] < before)
        assert schedule() == expected[which]
        # The end of an epoch may be repeated after a resume.
        assert schedule.report(0.0, epoch) is False
        state = json.loads(json.dumps(schedule.state_dict()))
        schedule = LearningRate(BASES[which], [ReduceOnPlateau(**given)])(3)
        schedule.set_state_dict(state)
        assert schedule() == expected[which]


def test_first_number_not_a_number() -> None:
    schedule = PlateauSchedule(1.0, patience=1)
    assert [schedule.report(value, epoch) for epoch, value in enumerate([math.nan, 3.0, 2.0, 2.0, 2.0])] == [False] * 4 + [True]


def test_a_warm_up_comes_first() -> None:
    flat = LearningRate(1.0, [FlatCosine(max_epochs=4, flat=0.5, min_lr_ratio=0.2), LinearWarmup(steps=4, start_factor=0.2)])(5)
    rates = []
    for _ in range(25):
        rates.append(flat())
        flat.step()
    assert rates[:5] == pytest.approx([0.2, 0.4, 0.6, 0.8, 1.0])
    assert set(rates[4:10]) == {1.0}
    assert rates[15] == pytest.approx(0.6)
    assert sorted(rates[10:], reverse=True) == rates[10:]
    assert rates[20:] == [rates[19]] * 5, "after its end the last rate stays"
    plateau = LearningRate(1.0, [ReduceOnPlateau(factor=0.5, patience=0), LinearWarmup(steps=4, start_factor=0.2)])(2)
    for epoch in range(3):
        plateau.step()
        plateau.step()
        plateau.report(1.0, epoch)
    assert plateau() == 0.25


def test_one_cycle_linear_and_long() -> None:
    schedule = LearningRate(1.0, [{"name": "OneCycle", "max_epochs": 10, "anneal": "linear", "pct_start": 0.5}])(10)
    assert isinstance(schedule, StepSchedule)
    rates = [schedule.rates(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.04)
    assert rates[49] == pytest.approx(1.0)
    assert rates[99] == pytest.approx(4e-6)
    assert rates[:50] == sorted(rates[:50])


def test_of_ppdets_schedules_nothing_changes() -> None:
    from ppdet.optimizer.optimizer import LearningRate as Host

    assert Host is not LearningRate
    assert issubclass(LearningRate, Host)
    for arguments in ((), ([PiecewiseDecay(0.1, [2, 3]), LinearWarmup(3)],), ([CosineDecay(4, use_warmup=False)],)):
        ours, theirs = (kind(0.1, *arguments)(10) for kind in (LearningRate, Host))
        assert type(ours) is type(theirs)
        for _ in range(40):
            assert ours() == theirs()
            ours.step()
            theirs.step()


@pytest.mark.parametrize(("make", "message"), [
    (lambda: LearningRate(1.0, [OneCycle(3), LinearWarmup()])(5), "leave out the warm-up"),
    (lambda: LearningRate(1.0, [FlatCosine(3), FlatCosine(3)])(5), "after the schedule there may be one warm-up"),
    (lambda: ReduceOnPlateau(factor=2.0), "ReduceOnPlateau.factor: 2.0"),
    (lambda: ReduceOnPlateau(mode="mix"), "ReduceOnPlateau.mode: .*Did you mean"),
    (lambda: OneCycle(0), "OneCycle.max_epochs: 0"),
])  # fmt: skip
def test_what_cannot_be_is_said(make: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


def test_a_schedule_of_another_length_names_the_override(caplog) -> None:
    schedule = LearningRate(1e-3, [FlatCosine(16)])(18)
    warn_of_length(schedule, 16, 18)
    assert not caplog.records
    warn_of_length(schedule, 1, 18)
    assert "made for 288 steps and the run has 18" in caplog.text
    assert "-o LearningRate.schedulers.0.max_epochs=1" in caplog.text
