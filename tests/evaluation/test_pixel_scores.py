"""Scores of pixels against segmentation_models_pytorch's, from counts and from masks."""

import json
from pathlib import Path

import numpy as np
import pytest
import smp_recipe
from metric_cases import random_case, record_of

from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import (
    MeanIoU,
    PixelAccuracy,
    PixelF1,
    PixelIoU,
    PixelPrecision,
    PixelRecall,
    SeverstalDice,
    pixel_score,
)
from ppdet_ext.evaluation.metric import value_of
from ppdet_ext.evaluation.pixel_scores import REDUCTIONS, fbeta
from ppdet_ext.structures import Detections, Rle

CASES = json.loads((Path(__file__).parent / "smp_metrics.json").read_text())
OURS = {
    "f1_score": PixelF1,
    "iou_score": PixelIoU,
    "precision": PixelPrecision,
    "recall": PixelRecall,
    "accuracy": PixelAccuracy,
}


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_all_scores_and_reductions_from_counts(case: dict) -> None:
    counts = tuple(np.array(case[name]) for name in ("tp", "fp", "fn", "tn"))
    for key, expected in case["scores"].items():
        score, reduction, division = key.split("|")
        rule = (lambda *them: fbeta(*them, beta=2.0)) if score == "fbeta_score_beta2" else score
        weighted = reduction.startswith("weighted") or division == "class_weights"
        weights = case["class_weights"] if weighted else None
        zero = 1.0 if division == "class_weights" else float(division.split("=")[1])
        found = pixel_score(rule, counts, reduction, weights, zero)
        np.testing.assert_allclose(found, np.array(expected, np.float64), rtol=0, atol=2e-6, err_msg=key)


@pytest.mark.parametrize("empty", [[], [3]], ids=["", "class 3 empty"])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("score", OURS)
def test_metrics_from_masks(score: str, reduction: str, empty: list[int]) -> None:
    """The same sigmoid maps cut at 0.5, as predicted masks; the counts are the reference's."""
    case = next(one for one in CASES if one["name"] == ("multilabel_class3_empty_in_target" if empty else "multilabel"))
    weights = case["class_weights"] if reduction.startswith("weighted") else None
    metric = OURS[score](reduction, weights)
    found, there = smp_recipe.loss_logits(4, batch=3) >= 0, smp_recipe.loss_masks(4, batch=3, empty=tuple(empty)) > 0
    height, width = found.shape[2:]
    records, predictions = [], []
    for image in range(3):
        shown = [label for label in range(4) if there[image, label].any()]
        records.append(record_of(image, (height, width), [Rle.from_bitmap(there[image, label]) for label in shown], shown))
        masks = [Rle.from_bitmap(found[image, label]) for label in range(4)]
        predictions.append(Detections.of_masks(height, width, masks, range(4), [0.9] * 4))
    metric.start(records, ["a", "b", "c", "d"], [1, 2, 3, 4])
    for image, detections in enumerate(predictions):
        metric.update(image, detections)
    numbers = metric.compute()
    expected = case["scores"][f"{score}|{reduction}|zero_division=1.0"]
    assert value_of(numbers) == pytest.approx(expected, abs=2e-6)
    assert len(numbers[type(metric).__name__]) == 5


def test_iou_of_all_images_is_mean_iou_where_all_classes_occur() -> None:
    rng = np.random.default_rng(1)
    equal = 0
    for _ in range(40):
        case = random_case(rng, 2, 2, 16)
        ours, known = case.compute(PixelIoU("macro", zero_division=0.0)), case.compute(MeanIoU())
        equal += ours == pytest.approx(known)
    assert equal > 10


def test_nothing_at_all_is_one_by_image_and_unknown_over_all() -> None:
    empty = [record_of(0, (4, 5), [], [])]
    for reduction, value in (("micro", -1.0), ("micro-imagewise", 1.0), ("macro", 1.0)):
        metric = PixelF1(reduction)
        metric.start(empty, ["a"], [1])
        assert value_of(metric.compute()) == value
        assert metric.value_of_nothing() == value


@pytest.mark.parametrize(("arguments", "message"), [
    ({"reduction": "mikro"}, "PixelF1.reduction: .*Did you mean 'micro'"),
    ({"reduction": "weighted"}, "class_weights go with a weighted reduction"),
    ({"class_weights": [1.0]}, "class_weights go with a weighted reduction"),
    ({"zero_division": 2.0}, "PixelF1.zero_division"),
])  # fmt: skip
def test_options_that_cannot_be(arguments: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PixelF1(**arguments)


def test_weights_of_other_classes() -> None:
    metric = PixelIoU("weighted", [1.0, 2.0])
    metric.start([record_of(0, (4, 5), [], [])], ["a"], [1])
    with pytest.raises(UserError, match="2 numbers for 1 class"):
        metric.compute()


def test_f1_of_each_image_and_class_is_severstals_dice() -> None:
    rng = np.random.default_rng(2)
    for _ in range(40):
        case = random_case(rng, 2, 3, 16)
        assert case.compute(PixelF1("macro-imagewise")) == pytest.approx(case.compute(SeverstalDice()), abs=1e-12)
