"""The fast scorer gives what the steps and the metric give."""

import numpy as np
import pytest
from tuning_cases import Drawn, names_of

from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.inference.candidate_file import quantised, restored
from ppdet_ext.tuning.problem import pipeline_value
from ppdet_ext.tuning.scorer import Scorer
from ppdet_ext.tuning.setting import Setting, Thresholds

METRICS = ("SeverstalDice", "IMaterialistMAP", "MeanIoU", "COCO")
NAMES, IDS = names_of(3)


def random_setting(rng: np.random.Generator) -> Setting:
    """Thresholds of each class, on values that scores and areas may equal."""
    return Setting(
        tuple(
            Thresholds(
                round(rng.uniform(0, 0.9), 2),
                round(rng.uniform(0.1, 0.9), 1),
                float(rng.choice([0.3, 0.45, 0.5, 0.7])),
                int(rng.choice([0, 30, 200, 600])),
            )
            for _ in range(3)
        )
    )


def rounded(found):
    """Scores on a grid, so that there are ties, and scores that equal thresholds."""
    found = [one.select(np.argsort(-np.round(one.scores, 1), kind="stable")) for one in found]
    for one in found:
        one.scores[:] = np.round(one.scores, 1)
    return [quantised(one) for one in found]


@pytest.mark.parametrize("name", METRICS)
@pytest.mark.parametrize("seed", range(3))
def test_scorer_equals_steps_and_metric(name: str, seed: int) -> None:
    records, found = Drawn(images=8, instances=4, candidates=14).draw(seed)
    found = rounded(found)
    scorer = Scorer(tuning_metric(name), records, NAMES, IDS, found)
    rng = np.random.default_rng(seed)
    for _ in range(6):
        setting = random_setting(rng)
        whole = pipeline_value(
            tuning_metric(name), records, NAMES, IDS, [restored(one) for one in found], setting.steps(NAMES, IDS), 0.5
        )
        assert scorer.value(setting) == pytest.approx(whole, abs=1e-12)


def test_thresholds_that_something_equals_keep_it() -> None:
    records, found = Drawn(images=3).draw(6)
    found = [quantised(one) for one in found]
    areas = [mask.area for one in found for mask in restored(one).detections(0.5).masks]
    scores = np.concatenate([one.scores for one in found])
    scorer = Scorer(tuning_metric("SeverstalDice"), records, NAMES, IDS, found)
    middle, score = sorted(areas)[len(areas) // 2], float(np.sort(scores)[len(scores) // 2])
    at = Setting.uniform(3, Thresholds(0.0, 1.0, 0.5, middle))
    assert scorer.kept(at) == sum(area >= middle for area in areas) > scorer.kept(at.moved("area", middle + 1))
    assert scorer.kept(Setting.uniform(3, Thresholds(score, 1.0, 0.5, 0))) == (scores.astype(float) >= score).sum()


def test_values_of_some_images_and_of_mixed_settings() -> None:
    records, found = Drawn(images=6).draw(1)
    found = [quantised(one) for one in found]
    scorer = Scorer(tuning_metric("SeverstalDice"), records, NAMES, IDS, found)
    first, second = (Setting.uniform(3, Thresholds(score, 0.5, 0.5, 0)) for score in (0.2, 0.6))
    part = Scorer(tuning_metric("SeverstalDice"), records[:2], NAMES, IDS, found[:2])
    assert scorer.value(first, [0, 1]) == part.value(first)
    rest = scorer.value(second, [2, 3, 4, 5])
    assert scorer.combined([first, first, *[second] * 4]) == pytest.approx((part.value(first) * 2 + rest * 4) / 6, abs=1e-12)
    assert scorer.combined([first] * 6) == scorer.value(first) != scorer.value(second)


def test_kept_counts_what_remains() -> None:
    records, found = Drawn(images=4).draw(2)
    scorer = Scorer(tuning_metric("SeverstalDice"), records, NAMES, IDS, [quantised(one) for one in found])
    assert scorer.kept(Setting.uniform(3, Thresholds(0.0, 1.0, 0.5, 0))) == sum(map(len, found))
    assert scorer.kept(Setting.uniform(3, Thresholds(0.5, 1.0, 0.5, 0))) == sum((one.scores >= 0.5).sum() for one in found)
    assert scorer.kept(Setting.uniform(3, Thresholds(0.0, 1.0, 0.5, 1e6))) == 0


def test_processes_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ppdet_ext.tuning.scorer.FEW", 1)
    records, found = Drawn(images=5).draw(3)
    found = [quantised(one) for one in found]
    setting = Setting.uniform(3, Thresholds(0.3, 0.4, 0.5, 10))
    values = {
        Scorer(tuning_metric("IMaterialistMAP"), records, NAMES, IDS, found, workers).value(setting) for workers in (0, 2, 3)
    }
    assert len(values) == 1


def test_images_without_candidates_and_without_objects() -> None:
    records, found = Drawn(images=4, instances=0.5, candidates=1).draw(4)
    found = [quantised(one.select(np.zeros(len(one), bool))) for one in found]
    setting = Setting.uniform(3, Thresholds(0.3, 0.4, 0.5, 10))
    steps = setting.steps(NAMES, IDS)
    for name in METRICS:
        value = Scorer(tuning_metric(name), records, NAMES, IDS, found).value(setting)
        whole = pipeline_value(tuning_metric(name), records, NAMES, IDS, [restored(one) for one in found], steps, 0.5)
        assert value == pytest.approx(whole, abs=1e-12)


def test_a_model_of_more_classes_is_refused() -> None:
    records, found = Drawn(images=2, candidates=20).draw(5)
    with pytest.raises(UserError, match=r"class number 3; the data set has 2"):
        Scorer(tuning_metric("COCO"), records, NAMES[:2], IDS[:2], [quantised(one) for one in found])
