"""CocoMaskAP against pycocotools: with crowds, ties in score, images in any order, and parts of the detections."""

import numpy as np
import pytest
from metric_cases import Case, detections_of, random_case, record_of

from ppdet_ext.evaluation import CocoMaskAP, CocoMetric, tuning_metric
from ppdet_ext.structures import Rle


def ap_of_pycocotools(case: Case) -> list[float]:
    """AP, AP50 and AP75."""
    metric = CocoMetric(case.records, case.names, [10 * (k + 1) for k in range(case.classes)], iou_types=("segm",))
    for record, found in zip(case.records, case.found):
        metric.update(record.im_id, found)
    return metric.compute()["segm"][:3]


def ap_of_partials(case: Case) -> list[float]:
    metric = CocoMaskAP()
    case.compute(metric)
    return [values[0] for values in metric.compute().values()]


def test_equals_pycocotools_on_random_cases() -> None:
    rng = np.random.default_rng(2)
    values = []
    for _ in range(150):
        case = random_case(rng, int(rng.integers(1, 7)), 2, 16, crowds=True)
        values.append(ap_of_partials(case))
        assert values[-1] == pytest.approx(ap_of_pycocotools(case), abs=1e-12)
    assert len({round(ap, 3) for ap, _, _ in values}) > 75


def test_only_the_hundred_best_of_an_image_and_class_count() -> None:
    size = 60, 60
    masks = [Rle.full(3, 3).place(5 * (i // 11), 5 * (i % 11), *size) for i in range(120)]
    case = Case([record_of(1, size, masks, [0] * 120)], [detections_of(size, masks, [0] * 120)], 1)
    assert ap_of_partials(case) == pytest.approx(ap_of_pycocotools(case), abs=1e-12)
    assert 0 < ap_of_partials(case)[0] < 0.9


def test_no_instances_is_minus_one_and_nothing_found_zero() -> None:
    size, mask = (8, 8), Rle.full(8, 8)
    nothing_there = Case([record_of(1, size, [], [])], [detections_of(size, [mask], [0])], 1)
    nothing_found = Case([record_of(1, size, [mask], [0])], [detections_of(size, [], [])], 1)
    assert ap_of_partials(nothing_there) == [-1, -1, -1]
    assert ap_of_partials(nothing_found) == [0, 0, 0]


def test_partials_of_a_selection_are_those_of_the_smaller_submission() -> None:
    rng = np.random.default_rng(3)
    metric = tuning_metric("COCO")
    for _ in range(50):
        case = random_case(rng, 3, 1, 16, crowds=True)
        partials, kept = [], []
        for record, found in zip(case.records, case.found):
            order = np.argsort(-found.scores, kind="stable")
            chosen = np.flatnonzero(rng.random(len(order)) < 0.6)
            prepared = metric.prepare(record.of_class(0), [found.masks[i] for i in order])
            partials.append([metric.partial(prepared, found.scores[order], chosen)])
            kept.append(found.select(order[chosen]))
        ap = metric.combine(partials)["CocoMaskAP"][0]
        assert ap == pytest.approx(ap_of_pycocotools(Case(case.records, kept, 1))[0], abs=1e-12)


@pytest.mark.parametrize("better", [0, 1])
def test_of_instances_overlapped_alike_the_last_is_taken_as_in_pycocotools(better: int) -> None:
    size = 8, 10
    left, right = (Rle.full(8, 8).place(0, x, *size) for x in (0, 2))
    # The first prediction has IoU .8 with both; which one it takes decides about the second, which is one of them.
    case = Case(
        [record_of(1, size, [left, right], [0, 0])], [detections_of(size, [Rle.full(*size), (left, right)[better]], [0, 0])], 1
    )
    assert ap_of_partials(case) == pytest.approx(ap_of_pycocotools(case), abs=1e-12)
    assert (ap_of_partials(case)[0] > 0.7) == (better == 0)
