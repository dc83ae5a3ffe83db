"""Evaluation, drawing and the loader on data with a category 0 and masks that are made when asked for."""

import json

import numpy as np
import paddle
import pytest
from fashion_data import opened, write_fashion
from loader_data import plain, reader

from ppdet_ext.drawing.detections import draw_ground_truth
from ppdet_ext.evaluation import CocoMetric
from ppdet_ext.structures import Detections


@pytest.fixture
def fashion(tmp_path):
    return write_fashion(tmp_path)


def perfect(record) -> Detections:
    scores = np.linspace(0.9, 0.5, len(record.masks)).astype(np.float32)
    return Detections(record.height, record.width, record.boxes, scores, record.labels, list(record.masks))


def test_a_perfect_prediction_scores_1_for_category_0_too(fashion, tmp_path):
    dataset = opened(fashion)
    metric = CocoMetric(dataset.records, dataset.class_names, dataset.category_ids)
    for record in dataset.records:
        metric.update(record.im_id, perfect(record))
    numbers = metric.compute()
    assert numbers["bbox"][0] == numbers["segm"][0] == pytest.approx(1)
    assert [(line.name, line.ap, line.instances) for line in metric.classwise()] == [
        ("shirt, blouse", pytest.approx(1), 3),
        ("dress", pytest.approx(1), 2),
        ("collar", pytest.approx(1), 1),
    ]
    paths = metric.save_json(tmp_path)
    saved = json.loads(paths[1].read_text())
    assert sorted(entry["category_id"] for entry in saved) == [0, 0, 0, 13, 13, 28]


def test_a_missed_category_0_costs(fashion):
    dataset = opened(fashion)
    metric = CocoMetric(dataset.records, dataset.class_names, dataset.category_ids)
    for record in dataset.records:
        metric.update(record.im_id, perfect(record).select(record.labels > 0))
    metric.compute()
    assert [line.ap for line in metric.classwise()] == [0, pytest.approx(1), pytest.approx(1)]


def test_annotations_can_be_drawn(fashion):
    dataset = opened(fashion)
    record = dataset.records[1]
    blank = np.zeros((record.height, record.width, 3), np.uint8)
    drawn = draw_ground_truth(blank, record, dataset.class_names)
    assert drawn[28, 5].any()
    assert not drawn[31, 63].any()


def test_the_loader_gives_the_same_with_workers(fashion, load):
    dataset = opened(fashion)
    batches = list(load(dataset, reader(shuffle=False)))
    assert [len(masks) for batch in batches for masks in batch["gt_mask"]] == [2, 3, 1, 0]
    assert [classes.tolist() for batch in batches for classes in batch["gt_class"]] == [[0, 2], [0, 1, 0], [1], []]
    assert batches[0]["image"].dtype == paddle.float32
    again = list(load(dataset, reader(shuffle=False), worker_num=1))
    assert [plain(batch) for batch in again] == [plain(batch) for batch in batches]
