"""Each metric against the plain loops of `slow_metrics` on hundreds of random cases, and what must hold for any case."""

import numpy as np
import pytest
import slow_metrics
from metric_cases import Case, detections_of, random_case

from ppdet_ext.evaluation import IMaterialistMAP, MeanIoU, SeverstalDice

CASES = 500


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    rng = np.random.default_rng(0)
    return [random_case(rng, int(rng.integers(1, 4)), int(rng.integers(1, 4)), 16) for _ in range(CASES)]


def test_severstal_dice(cases: list[Case]) -> None:
    values = [case.compute(SeverstalDice()) for case in cases]
    assert values == pytest.approx([slow_metrics.severstal_dice(case.bitmaps()) for case in cases], abs=1e-12)
    assert len({round(value, 3) for value in values}) > CASES / 3


def test_mean_iou(cases: list[Case]) -> None:
    values = [case.compute(MeanIoU()) for case in cases]
    assert values == pytest.approx([slow_metrics.mean_iou(case.bitmaps()) for case in cases], abs=1e-12)


@pytest.mark.parametrize(
    ("size", "match", "average"), [(16, "category", "image"), (12, "classid", "image"), (20, "classid", "pair")]
)
def test_imaterialist(cases: list[Case], size: int, match: str, average: str) -> None:
    values = [case.compute(IMaterialistMAP(size, match, average)) for case in cases]
    expected = [slow_metrics.imaterialist(case.bitmaps(), size, match, average) for case in cases]
    assert values == pytest.approx(expected, abs=1e-12)
    assert len({round(value, 3) for value in values}) > CASES / 10


def test_imaterialist_at_full_size() -> None:
    rng = np.random.default_rng(1)
    for case in [random_case(rng, 1, 2, 900) for _ in range(8)]:
        expected = slow_metrics.imaterialist(case.bitmaps(), 512, "category", "image")
        assert case.compute(IMaterialistMAP()) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("metric", [SeverstalDice(), MeanIoU(), IMaterialistMAP(24)])
def test_order_of_images_does_not_matter_and_truth_is_perfect(cases: list[Case], metric) -> None:
    for case in cases[:100]:
        backwards = list(range(len(case.records)))[::-1]
        assert case.compute(metric) == pytest.approx(case.compute(metric, backwards), abs=1e-12)
        copied = [detections_of((r.height, r.width), r.masks, r.labels.tolist()) for r in case.records]
        perfect = Case(case.records, copied, case.classes)
        anything = any(len(record.labels) for record in case.records)
        assert perfect.compute(metric) == pytest.approx(1.0 if anything or not isinstance(metric, MeanIoU) else -1.0)
