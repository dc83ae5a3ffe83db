"""Thresholds of a classifier: the search beside plain loops, the check on folds, what is written."""

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.errors import UserError
from ppdet_ext.postprocess import ImageContext, PostProcess
from ppdet_ext.structures import Detections, Record, Rle
from ppdet_ext.tuning.options import Searching
from ppdet_ext.tuning.presence import GRID, counts, gate_entry, truth_of, tune_presence, values
from ppdet_ext.tuning.presence_report import format_presence, presence_warnings, presence_yaml

NAMES, IDS = ["pits", "scratch"], [1, 2]


def sample(seed: int, images: int = 200, skill: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities, truth) of a classifier whose second class is best cut far from 0.5."""
    rng = np.random.default_rng(seed)
    truth = rng.random((images, 2)) < [0.4, 0.15]
    logits = rng.normal(0, 1, truth.shape) + skill * np.where(truth, 1, -1) + np.array([0, -2.5])
    return (1 / (1 + np.exp(-logits))).astype(np.float32), truth


def f1(found: np.ndarray, truth: np.ndarray) -> float:
    both, all_ = (found & truth).sum(), found.sum() + truth.sum()
    return 2 * both / all_ if all_ else 1.0


@settings(max_examples=30)
@given(seed=st.integers(0, 1000), images=st.integers(1, 30))
def test_counts_are_those_of_a_loop(seed: int, images: int) -> None:
    probabilities, truth = sample(seed, images)
    # Probabilities on the grid itself count from there on.
    probabilities[0, 0] = GRID[40]
    for own, its in zip(probabilities.T, truth.T):
        counted = counts(own, its)
        found = [own.astype(np.float64) >= threshold for threshold in GRID]
        assert values(counted, int(its.sum()), images, "f1").tolist() == pytest.approx([f1(one, its) for one in found])
        assert values(counted, int(its.sum()), images, "accuracy").tolist() == pytest.approx(
            [(one == its).mean() for one in found]
        )


@pytest.mark.parametrize("criterion", ["f1", "accuracy"])
def test_the_best_thresholds_are_found_and_checked(criterion: str) -> None:
    probabilities, truth = sample(0)
    folds = np.arange(len(truth)) % 5
    tuned = tune_presence(probabilities, truth, NAMES, folds, criterion)
    for label, one in enumerate(tuned.classes):
        own, its = probabilities[:, label].astype(np.float64), truth[:, label]
        score = f1 if criterion == "f1" else lambda found, its: (found == its).mean()
        every = [score(own >= threshold, its) for threshold in GRID]
        assert one.own == pytest.approx(max(every))
        assert one.own == pytest.approx(score(own >= one.own_threshold, its))
        assert one.common == pytest.approx(score(own >= tuned.common, its))
        # Each image judged by the threshold of the other folds.
        held = np.zeros(len(its), bool)
        for fold in range(5):
            others = tune_presence(probabilities[folds != fold], truth[folds != fold], NAMES, None, criterion)
            held[folds == fold] = own[folds == fold] >= others.classes[label].own_threshold
        assert one.held_own == pytest.approx(score(held, its))
        assert one.spread is not None
        assert one.spread[0] <= one.spread[1]
    assert tuned.classes[1].threshold < 0.3
    assert tuned.mean("own") > tuned.half


def test_what_does_not_hold_up_gets_the_common_threshold() -> None:
    # Of noise, every threshold of its own is one by chance.
    rng = np.random.default_rng(3)
    probabilities, truth = rng.random((60, 2)).astype(np.float32), rng.random((60, 2)) < 0.5
    folds, searching = np.arange(60) % 5, Searching(min_instances=2)
    tuned = tune_presence(probabilities, truth, NAMES, folds, "accuracy", searching)
    assert any(one.own > one.common for one in tuned.classes)
    assert tuned.thresholds == [tuned.common] * 2
    assert "do not hold up" in " ".join(presence_warnings(tuned, searching))
    kept = tune_presence(probabilities, truth, NAMES, folds, "accuracy", Searching(min_instances=2, keep_per_class=True))
    assert kept.thresholds != [tuned.common] * 2
    rare = tune_presence(*sample(0), NAMES, None, "f1", Searching(min_instances=50))
    assert rare.classes[1].threshold == rare.common
    assert "Fewer than 50 images (--min_instances) have scratch" in " ".join(
        presence_warnings(rare, Searching(min_instances=50))
    )


def test_what_is_written_is_what_a_gate_applies() -> None:
    probabilities, truth = sample(1)
    tuned = tune_presence(probabilities, truth, NAMES, np.arange(len(truth)) % 5)
    text = presence_yaml(tuned, Searching(), NAMES, IDS, [{"config": "c.yml", "weights": "w"}], "python tools/tune.py -c c.yml")
    written = yaml.safe_load(text)
    assert written["Classifier"] == {"config": "c.yml", "weights": "w"}
    assert written["PresenceF1"] == {"threshold": 0}
    before = text.splitlines()[text.splitlines().index("PresenceF1:") - 1]
    assert before.startswith("# The gate below decides")
    assert written["PostProcess"] == [gate_entry(tuned, NAMES)]
    assert format_presence(tuned).splitlines()[1] in text
    step = PostProcess(written["PostProcess"], NAMES, IDS).steps[0]
    mask = Rle.full(4, 4)
    both = Detections.of_masks(4, 4, [mask, mask], [0, 1], [1.0, 1.0])
    found = np.zeros_like(truth)
    for row, presence in zip(found, probabilities):
        row[step.apply(both, ImageContext("a", presence)).labels] = True
    written_f1 = [one.own if one.threshold == one.own_threshold else one.common for one in tuned.classes]
    assert [f1(own, its) for own, its in zip(found.T, truth.T)] == pytest.approx(written_f1)


def test_input_that_cannot_be_searched() -> None:
    probabilities, truth = sample(0)
    with pytest.raises(UserError, match="--criterion: 'F1' is not one of f1, accuracy"):
        tune_presence(probabilities, truth, NAMES, None, "F1")
    with pytest.raises(UserError, match="No object is annotated in the 200 images"):
        tune_presence(probabilities, np.zeros_like(truth), NAMES, None)


def test_truth_is_whatever_is_annotated() -> None:
    records = [Record(i, "", "", 4, 4, labels=np.array(labels, np.int64)) for i, labels in enumerate(([1, 1], [], [0, 1]))]
    assert truth_of(records, 2).tolist() == [[False, True], [False, False], [True, True]]
