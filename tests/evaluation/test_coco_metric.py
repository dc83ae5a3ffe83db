"""CocoMetric against pycocotools' own way through JSON files, and at the edges: nothing found, nothing there."""

import json
import logging
from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import CocoMetric, format_classwise
from ppdet_ext.structures import Detections, Record, Rle

SIZE = 160, 220
NAMES = ["pit", "scratch", "blotch"]
IDS = [40, 7, 12]  # neither contiguous nor sorted


def shapes(rng: np.random.Generator, n: int) -> list[Rle]:
    """Ellipses from small to large, so that every size range of COCO has instances."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    masks = []
    for _ in range(n):
        cy, cx, ry, rx = rng.uniform(20, 140), rng.uniform(20, 200), *rng.uniform(4, 70, 2)
        masks.append(Rle.from_bitmap(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1))
    return masks


def boxes_of(masks: list[Rle]) -> np.ndarray:
    return np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)


def make_records(rng: np.random.Generator, images: int = 8) -> list[Record]:
    records = []
    for i in range(images):
        masks = shapes(rng, int(rng.integers(0, 7)))
        n = len(masks)
        records.append(
            Record(
                im_id=10 + 3 * i,
                file="",
                name=f"{i}.jpg",
                height=SIZE[0],
                width=SIZE[1],
                boxes=boxes_of(masks),
                labels=rng.integers(0, 3, n),
                masks=masks,
                crowd=rng.random(n) < 0.2,
            )
        )
    return records


def noisy(rng: np.random.Generator, record: Record, extra: int = 4) -> Detections:
    """The record's shapes moved a little, some with a wrong label, and some shapes from nowhere."""
    moved = [Rle.from_bitmap(np.roll(mask.to_bitmap(), rng.integers(-9, 10, 2), (0, 1))) for mask in record.masks]
    masks = moved + shapes(rng, extra)
    labels = np.concatenate([record.labels, rng.integers(0, 3, extra)])
    labels = np.where(rng.random(len(labels)) < 0.2, rng.integers(0, 3, len(labels)), labels)
    return Detections(*SIZE, boxes_of(masks), rng.random(len(masks), np.float32), labels, masks)


def perfect(record: Record) -> Detections:
    return Detections(*SIZE, record.boxes, np.ones(len(record.labels), np.float32), record.labels, record.masks)


def perfect_metric(seed: int) -> CocoMetric:
    """Images of that seed, everything found as it is."""
    records = make_records(np.random.default_rng(seed))
    metric = CocoMetric(records, NAMES, IDS)
    for record in records:
        metric.update(record.im_id, perfect(record))
    return metric


def through_files(records: list[Record], found: dict[int, Detections], folder: Path) -> dict[str, COCOeval]:
    """pycocotools' documented way: annotation and result files on disk."""
    annotations = []
    for record in records:
        for mask, label, crowd in zip(record.masks, record.labels, record.crowd):
            x1, y1, x2, y2 = mask.box
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": record.im_id,
                    "area": mask.area,
                    "category_id": IDS[label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "iscrowd": int(crowd),
                    "segmentation": mask.to_coco(text=True),
                }
            )
    images = [{"id": record.im_id, "height": SIZE[0], "width": SIZE[1]} for record in records]
    categories = [{"id": i, "name": name} for i, name in zip(IDS, NAMES)]
    path = folder / "truth.json"
    truth = {"info": {}, "images": images, "annotations": annotations, "categories": categories}
    path.write_text(json.dumps(truth))
    evaluators = {}
    for kind, place in (("bbox", 0), ("segm", 1)):
        results = [result for im_id, one in found.items() for result in one.to_coco_results(im_id, IDS)[place]]
        truth = COCO(str(path))
        evaluators[kind] = COCOeval(truth, truth.loadRes(results), kind)
        evaluators[kind].evaluate()
        evaluators[kind].accumulate()
        evaluators[kind].summarize()
    return evaluators


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_numbers_equal_pycocotools_through_files(seed: int, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    rng = np.random.default_rng(seed)
    records = make_records(rng)
    found = {record.im_id: noisy(rng, record) for record in records}
    metric = CocoMetric(records, NAMES, IDS)
    for im_id, detections in found.items():
        metric.update(im_id, detections)
    numbers = metric.compute()
    rows = {kind: metric.classwise(kind) for kind in ("bbox", "segm")}
    assert capfd.readouterr().out == ""

    expected = through_files(records, found, tmp_path)
    printed = capfd.readouterr().out
    for kind, evaluator in expected.items():
        assert numbers[kind] == pytest.approx(evaluator.stats.tolist(), abs=1e-12)
        assert len(numbers[kind]) == 12
        for label, row in enumerate(rows[kind]):
            column = evaluator.eval["precision"][:, :, sorted(IDS).index(IDS[label]), 0, 2]
            assert row.ap == pytest.approx(column.mean())
            assert row.ap50 == pytest.approx(column[0].mean())
            truths = sum(int(((r.labels == label) & ~r.crowd).sum()) for r in records)
            assert (row.name, row.instances) == (NAMES[label], truths)
    assert 0 < numbers["segm"][0] < numbers["segm"][1] < 1
    tables = [line for line in metric.summary.splitlines() if "@[" in line]
    assert tables == [line for line in printed.splitlines() if "@[" in line]


def test_perfect_predictions() -> None:
    metric = perfect_metric(3)
    numbers = metric.compute()
    assert numbers["bbox"][:3] + numbers["segm"][:3] == pytest.approx([1] * 6)
    assert [row.ap for row in metric.classwise()] == pytest.approx([1, 1, 1])


def test_what_is_found_in_a_crowd_counts_neither_way() -> None:
    crowd, single = Rle.full(40, 100).place(0, 0, *SIZE), Rle.full(40, 40).place(100, 100, *SIZE)
    record = Record(
        1, "", "a.jpg", *SIZE, boxes_of([crowd, single]), np.array([0, 0]), [crowd, single], np.array([True, False])
    )
    inside = [Rle.full(20, 20).place(5, 5 + 25 * i, *SIZE) for i in range(3)]
    masks = [*inside, single]
    scores = np.array([0.9, 0.8, 0.7, 0.6], np.float32)
    metric = CocoMetric([record], NAMES, IDS)
    metric.update(1, Detections(*SIZE, boxes_of(masks), scores, np.zeros(4, np.int64), masks))
    numbers = metric.compute()
    assert (numbers["segm"][0], numbers["bbox"][0]) == pytest.approx((1, 1))
    assert metric.classwise()[0].instances == 1
    record.crowd[:] = False
    metric = CocoMetric([record], NAMES, IDS)
    metric.update(1, Detections(*SIZE, boxes_of(masks), scores, np.zeros(4, np.int64), masks))
    assert metric.compute()["segm"][0] < 0.5


def test_nothing_found_is_zero_and_nothing_there_is_minus_one(caplog: pytest.LogCaptureFixture) -> None:
    records = make_records(np.random.default_rng(4))
    metric = CocoMetric(records, NAMES, IDS)
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        nothing_found = metric.compute()
    assert nothing_found["bbox"] == nothing_found["segm"] == [0] * 12
    assert f"{len(records)} of {len(records)} images have no predictions" in caplog.text
    assert metric.missing == [record.im_id for record in records]

    clean = Record(1, "", "a.jpg", *SIZE)
    metric = CocoMetric([clean], NAMES, IDS)
    metric.update(1, noisy(np.random.default_rng(5), clean))
    assert metric.missing == []
    nothing_there = metric.compute()
    assert nothing_there["bbox"] == nothing_there["segm"] == [-1] * 12
    assert [row.ap for row in metric.classwise()] == [-1] * 3
    assert CocoMetric([], NAMES, IDS).compute()["segm"] == [-1] * 12


def test_missing_images_lower_the_numbers_and_are_named(caplog: pytest.LogCaptureFixture) -> None:
    records = [record for record in make_records(np.random.default_rng(6), 12) if len(record.labels)]
    metric = CocoMetric(records, NAMES, IDS)
    for record in records[1:]:
        metric.update(record.im_id, perfect(record))
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        assert metric.compute()["segm"][0] < 1
    assert f"1 of {len(records)} images have no predictions" in caplog.text
    assert records[0].name in caplog.text


def test_only_the_hundred_best_count() -> None:
    masks = [Rle.full(4, 4).place(10 * (i // 20), 10 * (i % 20), *SIZE) for i in range(120)]
    record = Record(1, "", "a.jpg", *SIZE, boxes_of(masks), np.zeros(120, np.int64), masks, np.zeros(120, bool))
    metric = CocoMetric([record], NAMES, IDS)
    metric.update(1, Detections(*SIZE, record.boxes, np.linspace(1, 0.1, 120, dtype=np.float32), record.labels, masks))
    numbers = metric.compute()
    assert numbers["segm"][6:9] == pytest.approx([1 / 120, 10 / 120, 100 / 120])


def test_boxes_only() -> None:
    records = make_records(np.random.default_rng(7))
    metric = CocoMetric(records, NAMES, IDS, iou_types=("bbox",))
    for record in records:
        record.masks = []
        metric.update(record.im_id, Detections(*SIZE, record.boxes, np.ones(len(record.boxes)), record.labels))
    assert metric.compute() == {"bbox": pytest.approx(metric.compute()["bbox"])}
    assert metric.compute()["bbox"][0] == pytest.approx(1)
    assert metric.classwise()[0].ap == pytest.approx(1)


def test_saved_predictions_are_coco_results(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    records = make_records(rng)
    metric = CocoMetric(records, NAMES, IDS)
    found = {record.im_id: noisy(rng, record) for record in records}
    for im_id, detections in found.items():
        metric.update(im_id, detections)
    paths = metric.save_json(tmp_path)
    assert [path.name for path in paths] == ["bbox.json", "mask.json"]
    boxes, masks = (json.loads(path.read_text()) for path in paths)
    assert len(boxes) == len(masks) == sum(map(len, found.values()))
    assert Rle.from_coco(masks[0]["segmentation"]) == found[masks[0]["image_id"]].masks[0]
    assert set(boxes[0]) == {"image_id", "category_id", "bbox", "score"}
    assert set(masks[0]) == {"image_id", "category_id", "segmentation", "score"}


def test_predictions_that_do_not_fit_are_refused() -> None:
    records = make_records(np.random.default_rng(9))
    metric = CocoMetric(records, NAMES, IDS)
    one = Rle.full(*SIZE)
    with pytest.raises(UserError, match="image id 11, which is not in the data set"):
        metric.update(11, Detections.empty(*SIZE))
    with pytest.raises(UserError, match=r"0\.jpg: predictions for 220x160, the image has 160x220"):
        metric.update(10, Detections.empty(*SIZE[::-1]))
    with pytest.raises(UserError, match="have no masks"):
        metric.update(10, Detections.empty(*SIZE, with_masks=False))
    with pytest.raises(UserError, match="label 3 of a model with another number of classes"):
        metric.update(10, Detections(*SIZE, boxes_of([one]), np.ones(1), np.array([3]), [one]))
    metric.update(10, Detections.empty(*SIZE))
    with pytest.raises(UserError, match="given twice"):
        metric.update(10, Detections.empty(*SIZE))


def test_data_sets_that_do_not_fit_are_refused() -> None:
    records = make_records(np.random.default_rng(10))
    with pytest.raises(UserError, match="1 image ids occur twice"):
        CocoMetric([*records, records[0]], NAMES, IDS)
    with pytest.raises(UserError, match="3 class names"):
        CocoMetric(records, NAMES, [1, 2, 2])
    with pytest.raises(ValueError, match="iou_types"):
        CocoMetric(records, NAMES, IDS, iou_types=("keypoints",))
    busy = next(record for record in records if len(record.masks))
    busy.masks = busy.masks[1:]
    with pytest.raises(UserError, match="masks are needed"):
        CocoMetric(records, NAMES, IDS).compute()


def test_classwise_text_lines_up() -> None:
    lines = format_classwise(perfect_metric(11).classwise()).splitlines()
    assert lines[0].split() == ["class", "AP", "AP50", "instances"]
    assert lines[2].split()[:3] == ["scratch", "1.000", "1.000"]
    assert len({len(line) for line in lines}) == 1


def test_more_objects_than_count_are_warned_of(caplog: pytest.LogCaptureFixture) -> None:
    masks = [Rle.full(2, 2).place(3 * (n // 60), 3 * (n % 60), *SIZE) for n in range(150)]
    for labels, warned in ((np.zeros(150, int), True), (np.arange(150) % 2, False)):
        record = Record(1, "", "many.jpg", *SIZE, boxes_of(masks), labels, masks, np.zeros(150, bool))
        metric = CocoMetric([record], NAMES, IDS)
        metric.update(1, Detections(*SIZE, record.boxes, np.linspace(1, 0.5, 150), labels, masks))
        caplog.clear()
        value = metric.compute()["segm"][0]
        said = "1 image with more than 100 objects of a class (many.jpg with 150)" in caplog.text
        assert (said, value < 0.99) == (warned, warned)
