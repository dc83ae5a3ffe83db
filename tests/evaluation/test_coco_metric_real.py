"""CocoMetric on real COCO annotations (polygons, crowds, gaps in the ids) against pycocotools on the JSON itself."""

from pathlib import Path

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppdet_ext.data.datasets import CocoJsonDataSet
from ppdet_ext.evaluation import CocoMetric
from ppdet_ext.structures import Detections, Record


def jittered(rng: np.random.Generator, record: Record) -> Detections:
    """The annotated shapes drawn up to 3 % towards the corner of the image, some with a wrong class."""
    masks, boxes = [], []
    for mask in record.masks:
        height, width = (int(side * rng.uniform(0.97, 1)) for side in mask.size)
        masks.append(mask.resize(height, width).place(0, 0, *mask.size))
        boxes.append(masks[-1].box)
    wrong = rng.random(len(masks)) < 0.1
    labels = np.where(wrong, rng.integers(0, 80, len(masks)), record.labels)
    scores = rng.random(len(masks), np.float32)
    return Detections(record.height, record.width, np.array(boxes, np.float32).reshape(-1, 4), scores, labels, masks)


@pytest.fixture(scope="module")
def mini(shared: Path) -> CocoJsonDataSet:
    dataset = CocoJsonDataSet(str(shared / "data/coco_mini"), on_error="skip")
    dataset.load()
    return dataset


def test_numbers_equal_pycocotools_on_the_json(mini: CocoJsonDataSet, shared: Path) -> None:
    rng = np.random.default_rng(0)
    metric = CocoMetric(mini.records, mini.class_names, mini.category_ids)
    results = {"bbox": [], "segm": []}
    for record in mini.records:
        detections = jittered(rng, record)
        metric.update(record.im_id, detections)
        for kind, found in zip(results, detections.to_coco_results(record.im_id, mini.category_ids)):
            results[kind] += found
    numbers = metric.compute()
    truth = COCO(str(shared / "data/coco_mini/annotations/instances_train2017.json"))
    truth.dataset.setdefault("info", {})
    assert sum(annotation["iscrowd"] for annotation in truth.dataset["annotations"]) == 5
    for kind, found in results.items():
        evaluator = COCOeval(truth, truth.loadRes(found), kind)
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
        # The size ranges go by the JSON's areas; its boxes are rounded, so ties at a threshold may differ.
        assert numbers[kind] == pytest.approx(evaluator.stats.tolist(), abs=2e-3)
        assert numbers[kind][0] > 0.2
    instances = {row.name: row.instances for row in metric.classwise()}
    for category in truth.loadCats(truth.getCatIds()):
        annotations = truth.loadAnns(truth.getAnnIds(catIds=category["id"], iscrowd=False))
        assert instances[category["name"]] == len(annotations)
