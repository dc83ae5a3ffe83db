"""Each section on pictures small enough to be worked out by hand."""

from dataclasses import replace

import numpy as np
import pytest
from metric_cases import Case, detections_of, record_of
from report_cases import case_of, tables

from ppdet_ext.evaluation import IMaterialistMAP, SeverstalDice
from ppdet_ext.report.analysis import analyse
from ppdet_ext.report.breakdown import breakdown
from ppdet_ext.report.calibration import calibration
from ppdet_ext.report.classes import best_f1, overall_best
from ppdet_ext.report.compare import bootstrap_ap, compare
from ppdet_ext.report.competition import competitions
from ppdet_ext.report.confusion import confusion
from ppdet_ext.report.errors import error_kinds
from ppdet_ext.report.json_file import report_text
from ppdet_ext.report.label_errors import candidates
from ppdet_ext.report.mask_errors import mask_kinds
from ppdet_ext.report.precision import class_precisions
from ppdet_ext.report.quality import quality
from ppdet_ext.report.results import Truth
from ppdet_ext.report.tables import Tables
from ppdet_ext.structures import Detections, Rle

SIZE = 100, 100
Box = tuple[int, int, int, int]


def rectangle(box: Box) -> Rle:
    """x1, y1, x2, y2."""
    x1, y1, x2, y2 = box
    return Rle.full(y2 - y1, x2 - x1).place(y1, x1, *SIZE)


def one_image(
    truths: list[tuple[int, Box]], found: list[tuple[int, Box, float]], classes: int = 2, crowd: list[bool] | None = None
) -> Tables:
    """Tables of an image; (label, box) and (label, box, score)."""
    record = record_of(1, SIZE, [rectangle(box) for _, box in truths], [label for label, _ in truths], crowd=crowd)
    masks = [rectangle(box) for _, box, _ in found]
    own = detections_of(SIZE, masks, [label for label, _, _ in found], [score for _, _, score in found])
    return tables(Case([record], [own], classes))


TRUTH: Box = (10, 10, 30, 30)


@pytest.mark.parametrize(
    ("found", "kinds"),
    [
        ([(0, TRUTH, 0.9)], {}),
        ([(1, TRUTH, 0.9)], {"classification": 1}),
        ([(0, (10, 10, 30, 18), 0.9)], {"localisation": 1}),  # IoU .4
        ([(1, (10, 10, 30, 18), 0.9)], {"both": 1, "missed": 1}),
        ([(0, TRUTH, 0.9), (0, TRUTH, 0.8)], {"duplicate": 1}),
        ([(0, (60, 60, 90, 90), 0.9)], {"background": 1, "missed": 1}),
        ([], {"missed": 1}),
        ([(0, TRUTH, 0.3)], {"missed": 1}),  # below the score
    ],
)
def test_a_wrong_detection_is_of_one_kind(found: list, kinds: dict[str, int]) -> None:
    _, made = error_kinds(one_image([(0, TRUTH)], found), 0.5)
    assert {one.key: one.count for one in made if one.count} == kinds


def test_what_a_kind_of_error_costs() -> None:
    # Of two objects one is found, after a false one: precision 1/2 up to recall .5, so AP50 is 51/101 · 1/2.
    own = one_image([(0, TRUTH), (0, (50, 50, 80, 80))], [(0, (50, 50, 80, 62), 0.9), (0, TRUTH, 0.8)], 1)
    ap50, kinds = error_kinds(own, 0.0)
    gains = {one.key: one.delta_ap50 for one in kinds}
    assert ap50 == pytest.approx(51 / 202)
    # Mended, the first one counts as the second object.
    assert gains.pop("localisation") == pytest.approx(1 - 51 / 202)
    assert set(gains.values()) == {0.0}


def test_missed_objects_cost_what_recall_they_take() -> None:
    own = one_image([(0, TRUTH), (0, (50, 50, 80, 80))], [(0, TRUTH, 0.8)], 1)
    ap50, kinds = error_kinds(own, 0.0)
    assert ap50 == pytest.approx(51 / 101)
    assert {one.key: one.delta_ap50 for one in kinds}["missed"] == pytest.approx(1 - 51 / 101)


def test_the_mended_kinds_never_cost_ap() -> None:
    for seed in range(6):
        _, kinds = error_kinds(tables(case_of(seed)), 0.5)
        assert all(one.delta_ap50 is None or one.delta_ap50 >= -1e-12 for one in kinds)


def test_merged_split_and_masks_that_are_wrong_in_right_boxes() -> None:
    two = [(0, (10, 10, 30, 30)), (0, (34, 10, 54, 30))]
    counts = {one.key: one.count for one in mask_kinds(one_image(two, [(0, (10, 10, 54, 30), 0.9)]), 0.5)}
    assert counts == {"box_right_mask_wrong": 0, "merged": 1, "split": 0}
    halves = [(0, (10, 10, 30, 20), 0.9), (0, (10, 21, 30, 30), 0.8)]
    counts = {one.key: one.count for one in mask_kinds(one_image([(0, TRUTH)], halves), 0.5)}
    assert counts == {"box_right_mask_wrong": 0, "merged": 0, "split": 1}
    frame = rectangle(TRUTH).subtract(rectangle((12, 12, 28, 28)))
    hollow = Case([record_of(1, SIZE, [rectangle(TRUTH)], [0])], [detections_of(SIZE, [frame], [0])], 1)
    counts = {one.key: one.count for one in mask_kinds(tables(hollow), 0.5)}
    assert counts == {"box_right_mask_wrong": 1, "merged": 0, "split": 0}


def test_confusion_has_classes_and_background() -> None:
    truths = [(0, TRUTH), (1, (40, 40, 60, 60)), (1, (70, 70, 90, 90))]
    found = [(1, TRUTH, 0.9), (1, (40, 40, 60, 60), 0.8), (0, (0, 80, 10, 90), 0.7), (0, (70, 70, 90, 90), 0.1)]
    made = confusion(one_image(truths, found), 0.5)
    assert made.matrix == [[0, 1, 0], [0, 1, 1], [1, 0, 0]]
    assert [(cell.truth, cell.found, cell.count, cell.images) for cell in made.cells] == [
        (0, 1, 1, [1]), (1, None, 1, [1]), (None, 0, 1, [1])]  # fmt: skip
    # What is found in a crowd of its class is neither right nor wrong, and a crowd is not missed.
    crowded = one_image([(0, (0, 0, 50, 50))], [(0, TRUTH, 0.9)], crowd=[True])
    assert confusion(crowded, 0.5).matrix == [[0, 0, 0]] * 3


def test_the_matrix_adds_up() -> None:
    for seed in range(6):
        own = tables(case_of(seed))
        matrix = np.array(confusion(own, 0.4).matrix)
        assert matrix[:-1].sum(axis=1).tolist() == own.instances().tolist()
        assert matrix[-1, -1] == 0


def test_the_best_f1_takes_ties_together() -> None:
    score, right = np.array([0.9, 0.5, 0.5, 0.2]), np.array([True, True, False, False])
    best = best_f1(score, right, ~right, 2)
    # Without the tie, a threshold between the two of .5 would give F1 1.
    assert (best.f1, best.threshold, best.precision, best.recall) == (pytest.approx(0.8), 0.5, pytest.approx(2 / 3), 1.0)
    assert best_f1(score, np.zeros(4, bool), np.ones(4, bool), 2).f1 is None


def test_calibration_counts_what_is_right_of_each_tenth() -> None:
    found = [(0, TRUTH, 0.95), (0, (60, 60, 90, 90), 0.95), (0, (0, 60, 9, 90), 0.15), (0, (40, 0, 50, 9), 1.0)]
    made = calibration(one_image([(0, TRUTH)], found))
    assert [one.count for one in made.bins] == [0, 1, 0, 0, 0, 0, 0, 0, 0, 3]
    assert (made.bins[9].accuracy, made.bins[1].accuracy) == (pytest.approx(1 / 3), 0)
    assert made.ece == pytest.approx((0.15 + (0.95 + 0.95 + 1 - 1)) / 4)
    assert (sum(made.right), sum(made.wrong)) == (1, 3)


def test_breakdown_goes_by_the_data_sets_own_quantiles() -> None:
    truths = [(0, (8 * i, 40, 8 * i + 4 + i, 44 + i)) for i in range(10)]
    found = [(label, box, 0.9) for label, box in truths[5:]]  # the larger half
    made = breakdown(one_image(truths, found, 1), 0.5)
    area = made.axes[0]
    assert [one.instances for one in area.bins] == [2] * 5
    assert [one.recall for one in area.bins] == [0, 0, 0.5, 1, 1]
    assert [one.ap50 for one in area.bins][-1] == pytest.approx(1)
    assert (np.sum(made.truths), np.sum(made.misses)) == (10, 5)
    assert [len(axis.bins) for axis in made.axes if axis.key == "crowding"] == [1]


def test_quality_of_a_mask_that_is_shrunken_and_has_lost_its_hole() -> None:
    hole = rectangle((10, 10, 40, 40)).subtract(rectangle((24, 24, 26, 26)))
    case = Case([record_of(1, SIZE, [hole], [0])], [detections_of(SIZE, [rectangle((10, 10, 40, 32))], [0])], 1)
    made = quality(tables(case), 0.5)
    assert (made.matches, made.truth_holes, made.found_holes, made.shrunken, made.grown) == (1, 1, 0, 1.0, 0.0)
    assert made.rows[0].area_ratio == pytest.approx(660 / 896)
    assert made.rows[0].mean_boundary_iou < made.rows[0].mean_iou


def test_likely_faults_of_annotations() -> None:
    truths = [(0, TRUTH), (0, (40, 10, 60, 30)), (0, (40, 10, 60, 29)), (1, (70, 10, 90, 30))]
    found = [
        (1, TRUTH, 0.9),  # annotated as 0
        (0, (10, 60, 30, 80), 0.8),  # not annotated
        (0, (10, 85, 30, 95), 0.4),  # not sure enough
        (1, (70, 10, 90, 21), 0.95),  # IoU .55
    ]
    made = candidates(one_image(truths, found))
    assert [(one.kind, one.row, one.truth, one.other) for one in made] == [
        ("missing", 2, -1, -1), ("wrong_class", 1, 0, -1), ("badly_drawn", 0, 3, -1), ("duplicate", -1, 2, 1)]  # fmt: skip


@pytest.mark.parametrize("metric", [SeverstalDice(), IMaterialistMAP(size=32), IMaterialistMAP(size=32, average="pair")])
def test_a_competitions_losses_add_up(metric: SeverstalDice | IMaterialistMAP) -> None:
    for seed in range(4):
        case = case_of(seed)
        (made,) = competitions(tables(case), [metric], 0.4)
        assert made.at_score + sum(one.lost for one in made.losses) == pytest.approx(1)
        assert made.value == pytest.approx(case.compute(type(metric)(**vars_of(metric))))
        certain = Case(case.records, [own.select(own.scores.astype(float) >= 0.4) for own in case.found], case.classes)
        assert made.at_score == pytest.approx(certain.compute(type(metric)(**vars_of(metric))))


def vars_of(metric: object) -> dict:
    return {"size": metric.size, "average": metric.average} if isinstance(metric, IMaterialistMAP) else {}


def test_a_draw_of_each_image_once_is_the_ap() -> None:
    own = tables(case_of(3))
    whole = bootstrap_ap(own, np.ones((1, len(own.records)), np.int64))[0]
    assert whole == pytest.approx([one.ap for one in class_precisions(own)], abs=1e-12)


def test_an_image_that_is_drawn_twice_counts_as_two_images() -> None:
    case = case_of(3)
    rng = np.random.default_rng(0)
    # Without ties, whose order decides.
    found = [replace(own, scores=rng.random(len(own))) for own in case.found]
    own = tables(Case(case.records, found, case.classes))
    weights = rng.integers(0, 4, (20, len(own.records)))
    drawn = bootstrap_ap(own, weights)
    for row, ap in zip(weights, drawn):
        # Ids such that copies come one after the other, in the images' order.
        copies = [
            (replace(record, im_id=record.im_id * 10 + copy), detections)
            for record, detections, times in zip(own.records, own.detections, row)
            for copy in range(times)
        ]
        whole = tables(Case([record for record, _ in copies], [detections for _, detections in copies], case.classes))
        expected = [np.nan if one.ap is None else one.ap for one in class_precisions(whole)]
        assert ap == pytest.approx(expected, abs=1e-12, nan_ok=True)


def test_a_run_compared_with_itself_and_with_a_worse_one() -> None:
    case = case_of(4, images=40)
    own = tables(case)
    worse = Case(case.records, [found.select(np.arange(len(found)) % 2 == 0) for found in case.found], case.classes)
    made = compare(own, {"same": (own, {}), "worse": (tables(worse), {})}, seed=1)
    same, other = made.runs
    assert (same.rows[0].difference, same.rows[0].low, same.rows[0].high, same.rows[0].real) == (0, 0, 0, False)
    assert other.rows[0].difference < 0
    assert other.rows[0].low <= other.rows[0].difference <= other.rows[0].high
    again = compare(own, {"same": (own, {}), "worse": (tables(worse), {})}, seed=1)
    assert again == made


@pytest.mark.parametrize("nothing", ["images", "truths", "detections"])
def test_a_report_of_nothing_is_one(nothing: str) -> None:
    case = case_of(9, images=4)
    if nothing == "images":
        case = Case([], [], 3)
    elif nothing == "truths":
        case = Case([record_of(one.im_id, (one.height, one.width), [], []) for one in case.records], case.found, 3)
    else:
        case = Case(case.records, [Detections.empty(one.height, one.width) for one in case.records], 3)
    truth = Truth(case.records, case.names, [1, 2, 3])
    report = analyse(truth, {record.im_id: own for record, own in zip(case.records, case.found)})
    assert report_text(report)
    assert overall_best(tables(case)).f1 is None


def test_the_same_input_gives_the_same_bytes_but_for_the_seconds() -> None:
    case = case_of(2)
    found = {record.im_id: own for record, own in zip(case.records, case.found)}
    texts = [report_text(analyse(Truth(case.records, case.names, [1, 2, 3]), found)) for _ in range(2)]
    assert len({text.partition('"seconds":')[0] for text in texts}) == 1
    assert len({text.partition('"notes":')[2] for text in texts}) == 1
