"""Matches, precision and counts are COCOeval's, to the last bit."""

import numpy as np
import pytest
from metric_cases import Case, detections_of, record_of
from report_cases import case_of, cocoeval, tables

from ppdet_ext.report.matching import match_image, verdicts
from ppdet_ext.report.precision import class_precisions
from ppdet_ext.structures import Rle


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("seed", range(12))
def test_precision_and_recall_equal_cocoeval(kind: str, seed: int) -> None:
    case = case_of(seed)
    theirs = cocoeval(case, kind).eval
    for label, ours in enumerate(class_precisions(tables(case), kind)):
        precision, recall = theirs["precision"][:, :, label, 0, 2], theirs["recall"][:, label, 0, 2]
        if ours.precision is None:
            assert (precision == -1).all()
        else:
            assert np.array_equal(precision, ours.precision)
            assert np.array_equal(recall, ours.recall)


@pytest.mark.parametrize("seed", range(6))
def test_right_wrong_and_missed_are_those_of_eval_imgs(seed: int) -> None:
    case = case_of(seed)
    matched = tables(case).matched
    right = wrong = instances = 0
    for cell in cocoeval(case, "segm").evalImgs:
        if cell is None or cell["aRng"] != [0, 1e10]:
            continue
        counts = ~cell["dtIgnore"][0].astype(bool)
        right += int((counts & (cell["dtMatches"][0] > 0)).sum())
        wrong += int((counts & (cell["dtMatches"][0] == 0)).sum())
        instances += int((~np.array(cell["gtIgnore"]).astype(bool)).sum())
    assert (int(matched.right.sum()), int(matched.wrong.sum())) == (right, wrong)
    assert int(tables(case).instances().sum()) == instances
    shown = [verdicts(record, own).counts for record, own in zip(case.records, case.found)]
    assert np.array(shown).sum(axis=0).tolist() == [right, wrong, instances - right]


def test_many_objects_in_one_image_take_memory_by_pairs() -> None:
    size = 260, 260
    masks = [Rle.full(3, 3).place(5 * (i // 50), 5 * (i % 50), *size) for i in range(2000)]
    case = Case([record_of(1, size, masks, [0] * 2000)], [detections_of(size, masks, [0] * 2000)], 1)
    own = match_image(case.records[0], case.found[0])
    assert len(own.pairs.iou) == 2000
    assert (own.taken[0] >= 0).sum() == 100  # COCO counts the best hundred
    assert verdicts(case.records[0], case.found[0]).counts == (100, 0, 1900)


def test_a_lowest_score_leaves_the_matches_above_it_as_they_are() -> None:
    case = case_of(3)
    for record, own in zip(case.records, case.found):
        certain = own.select(own.scores >= 0.5)
        assert verdicts(record, own, 0.5).counts == verdicts(record, certain).counts
