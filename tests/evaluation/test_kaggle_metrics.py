"""Kaggle's metrics and mean IoU on cases small enough to work out by hand."""

import logging

import numpy as np
import pytest
from metric_cases import Case, detections_of, record_of

from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import (
    CocoMaskAP,
    CocoMetric,
    IMaterialistMAP,
    MeanIoU,
    PartialMetric,
    SeverstalDice,
    build_metric,
    tuning_metric,
)
from ppdet_ext.evaluation.metric import gain_over_nothing
from ppdet_ext.host.registry import METRICS
from ppdet_ext.structures import Detections, Record, Rle

SIZE = 10, 20


def bar(first: int, last: int) -> Rle:
    """Pixels first…last-1 of the image, column by column."""
    return Rle.from_runs(np.array([first]), np.array([last - first]), *SIZE)


def one_image(
    truth: list[Rle], found: list[Rle], truth_labels=None, found_labels=None, classes: int = 1, attributes=None
) -> Case:
    record = record_of(7, SIZE, truth, truth_labels or [0] * len(truth), attributes)
    return Case([record], [detections_of(SIZE, found, found_labels or [0] * len(found))], classes)


def test_dice_of_unions() -> None:
    # 30 px annotated in two pieces, 30 px found in two overlapping ones, 20 px shared.
    case = one_image([bar(0, 20), bar(30, 40)], [bar(10, 30), bar(20, 40)])
    assert case.compute(SeverstalDice()) == pytest.approx(2 * 20 / (30 + 30))


def test_dice_counts_a_class_that_is_empty_on_both_sides_as_right() -> None:
    case = one_image([bar(0, 20)], [bar(0, 20), bar(50, 51)], found_labels=[0, 2], classes=4)
    metric = SeverstalDice()
    assert case.compute(metric) == pytest.approx((1 + 1 + 0 + 1) / 4)
    assert metric.compute() == {"SeverstalDice": pytest.approx([0.75, 1, 1, 0, 1])}
    assert [line.split() for line in metric.summary.splitlines()[-2:]] == [
        ["class", "2", "0.0000", "0"],
        ["class", "3", "1.0000", "0"],
    ]


def test_dice_averages_over_images_and_classes() -> None:
    records = [record_of(1, SIZE, [bar(0, 10)], [1]), record_of(2, SIZE, [], [])]
    found = [detections_of(SIZE, [bar(0, 30)], [1]), detections_of(SIZE, [], [])]
    metric = SeverstalDice()
    Case(records, found, 2).compute(metric)
    assert metric.compute()["SeverstalDice"] == pytest.approx([(1 + 0.5 + 1 + 1) / 4, 1, 0.75])


def test_mean_iou_sums_pixels_over_images_and_leaves_absent_classes_out() -> None:
    records = [record_of(1, SIZE, [bar(0, 10)], [0]), record_of(2, SIZE, [bar(0, 100)], [0])]
    found = [detections_of(SIZE, [], []), detections_of(SIZE, [bar(0, 100), bar(5, 6)], [0, 1])]
    metric = MeanIoU()
    assert Case(records, found, 3).compute(metric) == pytest.approx((100 / 110 + 0) / 2)
    assert metric.compute()["MeanIoU"][1:] == pytest.approx([100 / 110, 0, -1])
    assert metric.summary.splitlines()[-1].split() == ["class", "2", "-", "0"]


# Of one annotated and one found mask: found px of 100 annotated ones, and at how many of the ten thresholds they match.
@pytest.mark.parametrize(
    ("pixels", "matches"),
    [(100, 10), (96, 10), (95, 9), (71, 5), (70, 4), (61, 3), (60, 2), (56, 2), (55, 1), (51, 1), (50, 0)],
)
def test_imaterialist_match_is_strictly_above_the_threshold(pixels: int, matches: int) -> None:
    size = 20, 20
    truth, found = (Rle.from_runs(np.array([0]), np.array([n]), *size) for n in (100, pixels))
    case = Case([record_of(1, size, [truth], [0])], [detections_of(size, [found], [0])], 1)
    assert case.compute(IMaterialistMAP(size=20)) == pytest.approx(matches / 10)


def test_imaterialist_matches_one_to_one_the_best_pair_first() -> None:
    size = 100, 100

    def columns(first: int, last: int) -> Rle:
        return Rle.full(100, last - first).place(0, first, *size)

    def value(truth: list[Rle], found: list[Rle]) -> float:
        case = Case([record_of(1, size, truth, [0] * len(truth))], [detections_of(size, found, [0] * len(found))], 1)
        return case.compute(IMaterialistMAP(size=100))

    # Found twice, IoU .8 and .9: one is right at the 8 thresholds under .9, the other is one too many.
    assert value([columns(0, 100)], [columns(0, 80), columns(0, 90)]) == pytest.approx(8 / 10 * 1 / 2)
    # IoU .9 and .8 of the first prediction, .7 and .42 of the second: the first takes the instance both could have.
    assert value([columns(0, 100), columns(0, 72)], [columns(0, 90), columns(30, 100)]) == pytest.approx(8 / 10 * 1 / 3)


def test_imaterialist_rules_for_empty_classes_and_images() -> None:
    full = Rle.full(*SIZE)
    found_only = one_image([full], [full, full], found_labels=[0, 2], classes=4)
    truth_only = one_image([full, full], [full], truth_labels=[0, 1], classes=4)
    neither = one_image([], [], classes=4)
    metric = IMaterialistMAP()
    assert found_only.compute(metric) == pytest.approx(1 / 2)
    assert metric.compute()["IMaterialistMAP"] == pytest.approx([0.5, 1, -1, 0, -1])
    assert truth_only.compute(metric) == pytest.approx(1 / 2)
    assert neither.compute(metric) == 1
    assert neither.compute(IMaterialistMAP(average="pair")) == -1


def test_imaterialist_averages_over_images_or_over_pairs() -> None:
    full = Rle.full(*SIZE)
    records = [record_of(1, SIZE, [full] * 3, [0, 1, 2]), record_of(2, SIZE, [full], [0]), record_of(3, SIZE, [], [])]
    found = [detections_of(SIZE, [full], [0]), detections_of(SIZE, [full], [0]), detections_of(SIZE, [], [])]
    case = Case(records, found, 3)
    assert case.compute(IMaterialistMAP()) == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert case.compute(IMaterialistMAP(average="pair")) == pytest.approx((1 + 0 + 0 + 1) / 4)


def test_imaterialist_class_ids_with_attributes_cannot_be_matched() -> None:
    left, right = Rle.full(10, 10).place(0, 0, *SIZE), Rle.full(10, 10).place(0, 10, *SIZE)
    plain = one_image([left, right], [left, right], attributes=[(), ()])
    tagged = one_image([left, right, right], [left], attributes=[(), (20, 45), (45, 20)])
    only_tagged = one_image([left], [left], attributes=[(20,)])
    dropped = one_image([left], [], attributes=[(20,)])
    metric = IMaterialistMAP(match="classid")
    assert plain.compute(metric) == 1
    assert tagged.compute(metric) == pytest.approx((1 + 0) / 2)  # 13 is right, 13_20_45 is not found
    assert tagged.compute(IMaterialistMAP()) == pytest.approx(1 / 3)
    assert only_tagged.compute(metric) == dropped.compute(metric) == 0
    # Leaving the category out is what paid: 13 as predicted is one zero less.
    other = [record_of(1, SIZE, [left, right], [0, 1], [(20,), ()])]
    both = Case(other, [detections_of(SIZE, [left, right], [0, 1])], 2)
    without = Case(other, [detections_of(SIZE, [right], [1])], 2)
    assert both.compute(metric) == pytest.approx(1 / 3)
    assert without.compute(metric) == pytest.approx(1 / 2)


def test_imaterialist_drops_what_is_gone_at_the_small_size() -> None:
    size = 1024, 1024
    speck, big = Rle.full(1, 1).place(1, 1, *size), Rle.full(400, 400).place(100, 100, *size)
    with_specks = Case([record_of(1, size, [big, speck], [0, 1])], [detections_of(size, [speck, big], [0, 0])], 3)
    assert with_specks.compute(IMaterialistMAP()) == 1
    assert with_specks.compute(IMaterialistMAP(size=1024)) == pytest.approx((1 / 2 + 0) / 2)


@pytest.mark.parametrize("name", ["SeverstalDice", "IMaterialistMAP", "MeanIoU", "CocoMaskAP"])
def test_missing_images_count_as_empty_and_are_named(name: str, caplog: pytest.LogCaptureFixture) -> None:
    full = Rle.full(*SIZE)
    metric = build_metric(name)
    metric.start([record_of(1, SIZE, [full], [0]), record_of(2, SIZE, [full], [0])], ["a"], [1])
    metric.update(1, detections_of(SIZE, [full], [0]))
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        numbers = metric.compute()
    assert numbers[name][0] == pytest.approx(0.5, abs=0.01)
    assert "1 of 2 images have no predictions and count as empty: 2.jpg" in caplog.text


def test_what_a_metric_needs_and_is_not_there() -> None:
    class Unlabelled:
        annotated = False

    full = Rle.full(*SIZE)
    boxes_only = Record(1, "", "a.jpg", *SIZE, np.array([[0, 0, 20, 10]], np.float32), np.array([0]), [], np.array([False]))
    metric = SeverstalDice()
    with pytest.raises(UserError, match="this data set has none"):
        metric.start_on(Unlabelled())
    with pytest.raises(UserError, match=r"a\.jpg: 0 masks for 1 objects"):
        metric.start([boxes_only], ["a"], [1])
    with pytest.raises(UserError, match="no images"):
        metric.start([], ["a"], [1])
    with pytest.raises(UserError, match=r"7\.jpg: IMaterialistMAP with match: classid needs attributes"):
        one_image([full], [full]).compute(IMaterialistMAP(match="classid"))
    metric.start([record_of(1, SIZE, [full], [0])], ["a"], [1])
    metric.update(1, Detections(*SIZE, boxes_only.boxes, np.ones(1), np.zeros(1, np.int64)))
    with pytest.raises(UserError, match=r"1\.jpg: predictions have no masks"):
        metric.compute()


def test_metrics_by_name() -> None:
    assert {"COCO", "SeverstalDice", "IMaterialistMAP", "MeanIoU", "CocoMaskAP"} <= set(METRICS)
    assert isinstance(build_metric("COCO"), CocoMetric)
    assert isinstance(tuning_metric("COCO"), CocoMaskAP)
    with pytest.raises(UserError, match=r"PresenceF1 does not compare masks.*SeverstalDice"):
        tuning_metric("PresenceF1")
    assert tuning_metric("IMaterialistMAP", {"match": "classid"}).match == "classid"
    assert all(isinstance(tuning_metric(name), PartialMetric) for name in METRICS if name != "PresenceF1")
    with pytest.raises(UserError, match=r"no 'SteelDice'\. Did you mean 'SeverstalDice'\?"):
        build_metric("SteelDice")
    with pytest.raises(UserError, match="IMaterialistMAP: got an unexpected keyword argument 'sizes'"):
        build_metric("IMaterialistMAP", {"sizes": 3})
    for options, words in [({"size": 0}, "size"), ({"match": "classes"}, "classid"), ({"average": "mean"}, "pair")]:
        with pytest.raises(UserError, match=words):
            build_metric("IMaterialistMAP", options)


def test_coco_by_name_takes_what_the_predictions_hold() -> None:
    full = Rle.full(*SIZE)
    record = record_of(1, SIZE, [full], [0])
    metric = build_metric("COCO")
    metric.start([record], ["a"], [1])
    metric.update(1, Detections(*SIZE, record.boxes, np.ones(1), record.labels))
    assert set(metric.compute()) == {"bbox"}
    metric.start([record], ["a"], [1])
    metric.update(1, detections_of(SIZE, [full], [0]))
    assert metric.compute()["segm"][0] == pytest.approx(1)


def test_the_documented_metric_of_your_own(root, monkeypatch) -> None:
    blocks = (root / "docs" / "plugins.md").read_text().split("```python\n")[1:]
    (code,) = (block.split("```")[0] for block in blocks if "class Recall50" in block)
    own: list[type[PartialMetric]] = []
    monkeypatch.setattr("ppdet_ext.host.registry.register_metric", own.append)
    exec(code, {"__name__": __name__})
    half = one_image([bar(0, 20), bar(40, 60)], [bar(0, 15), bar(50, 80)])
    assert half.compute(own[0]()) == 0.5


@pytest.mark.parametrize("name", ["SeverstalDice", "IMaterialistMAP", "MeanIoU", "CocoMaskAP", "COCO"])
def test_the_value_of_nothing_is_what_no_predictions_score(name: str) -> None:
    records = [record_of(1, SIZE, [bar(0, 20)], [0]), record_of(2, SIZE, [], [])]
    metric = build_metric(name)
    metric.start(records, ["a", "b"], [1, 2])
    assert metric.value_of_nothing() == next(iter(metric.compute().values()))[0]


def test_an_empty_submission_is_named_where_it_scores() -> None:
    assert gain_over_nothing("MeanIoU", 0.3, 0.0) == ""
    better = gain_over_nothing("SeverstalDice", 0.9, 0.8561)
    assert better == "An empty submission scores 0.8561 by SeverstalDice; this one 0.9000, which is +0.0439"
    assert gain_over_nothing("SeverstalDice", 0.8, 0.85).endswith("-0.0500: submitting nothing would be better")
    assert gain_over_nothing("SeverstalDice", 0.85, 0.85).endswith("+0.0000: submitting nothing would be as good")
