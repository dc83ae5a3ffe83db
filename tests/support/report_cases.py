"""Data sets with detections for the tests of reports, and pycocotools' own word on them."""

import contextlib
import io
from typing import Any

import numpy as np
from metric_cases import Case, random_case
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from ppdet_ext.report.tables import Tables, tables_of


def case_of(seed: int, images: int = 12, classes: int = 3, side: int = 24) -> Case:
    """Rectangles with crowds and ties; see `random_case`."""
    return random_case(np.random.default_rng(seed), images, classes, side, crowds=True)


def tables(case: Case) -> Tables:
    return tables_of(case.records, {record.im_id: own for record, own in zip(case.records, case.found)}, case.names)


def cocoeval(case: Case, kind: str) -> COCOeval:
    """Evaluated and accumulated; category ids are labels + 1."""
    truth, found = COCO(), COCO()
    images = [{"id": record.im_id, "height": record.height, "width": record.width} for record in case.records]
    categories = [{"id": label + 1} for label in range(case.classes)]
    annotations: list[dict[str, Any]] = []
    for record in case.records:
        for i, mask in enumerate(record.masks):
            own = _object(record.im_id, int(record.labels[i]), record.boxes[i], mask, kind)
            annotations.append(own | {"iscrowd": int(record.crowd[i])})
    results = [
        _object(record.im_id, int(own.labels[i]), own.boxes[i], mask, kind) | {"score": float(own.scores[i])}
        for record, own in zip(case.records, case.found)
        for i, mask in enumerate(own.masks)
    ]
    for coco, objects in ((truth, annotations), (found, results)):
        numbered = [one | {"id": i} for i, one in enumerate(objects, 1)]
        coco.dataset = {"images": images, "categories": categories, "annotations": numbered}
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
        found.createIndex()
        evaluation = COCOeval(truth, found, kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation


def _object(im_id: int, label: int, box: np.ndarray, mask: Any, kind: str) -> dict[str, Any]:
    x1, y1, x2, y2 = box.astype(float).tolist()
    area = mask.area if kind == "segm" else (x2 - x1) * (y2 - y1)
    head = {"image_id": im_id, "category_id": label + 1, "bbox": [x1, y1, x2 - x1, y2 - y1], "area": area}
    return head | {"segmentation": mask.to_coco(), "iscrowd": 0}
