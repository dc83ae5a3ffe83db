"""Records and detections as COCO's annotations and results in memory: no JSON is written or read."""

import contextlib
import gc
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Record

from .coco_engine import Results, Truth

# pycocotools' area() fails beyond 255 masks with numpy 2.
_BATCH = 255


def ground_truth(records: Sequence[Record], category_ids: Sequence[int], with_masks: bool) -> Truth:
    """The annotations for an `Evaluator`; areas are those annotated, else those of the masks, else of the boxes.

    UserError for a record without a mask for each box where `with_masks`.
    """
    annotations: list[dict[str, Any]] = []
    for record in records:
        masks, boxes = len(record.masks), len(record.boxes)
        if with_masks and masks != boxes:
            raise UserError(f"{record.name}: {masks} masks for {boxes} boxes; masks are needed to evaluate masks")
        annotations += _annotations(record, category_ids, len(annotations) + 1)
    images = [{"id": record.im_id, "height": record.height, "width": record.width} for record in records]
    categories = [{"id": category_id, "name": str(category_id)} for category_id in category_ids]
    return {"images": images, "annotations": annotations, "categories": categories}


def _annotations(record: Record, category_ids: Sequence[int], first: int) -> list[dict[str, Any]]:
    """Those of an image, with ids from `first`."""
    boxes, segments = _xywh(record.boxes), [mask.to_coco() for mask in record.masks]
    areas = record.areas if record.areas is not None else _areas(segments) if segments else boxes[:, 2] * boxes[:, 3]
    columns = zip(record.labels.tolist(), boxes.tolist(), areas.tolist(), record.crowd.tolist())
    own = [
        {
            "id": number,
            "image_id": record.im_id,
            "category_id": category_ids[label],
            "bbox": box,
            "area": area,
            "iscrowd": int(crowd),
        }
        for number, (label, box, area, crowd) in enumerate(columns, first)
    ]
    for annotation, segment in zip(own, segments):
        annotation["segmentation"] = segment
    return own


def predicted(category_ids: Sequence[int], detections: Mapping[int, Detections], iou_type: str) -> Results:
    """Predictions by image id for an `Evaluator`: boxes or masks, with the areas of what is compared."""
    results: Results = []
    for im_id, own in detections.items():
        # Masks come without a box: with one, hotcoco and pycocotools' loadRes take its area for the mask's.
        if iou_type == "segm":
            key, regions = "segmentation", [mask.to_coco() for mask in own.masks or []]
            areas = _areas(regions)
        else:
            boxes = _xywh(own.boxes)
            key, regions, areas = "bbox", boxes.tolist(), boxes[:, 2] * boxes[:, 3]
        columns = zip(own.labels.tolist(), own.scores.tolist(), regions, areas.tolist())
        results += [
            {"image_id": int(im_id), "category_id": category_ids[label], "score": score, key: region, "area": area}
            for label, score, region, area in columns
        ]
    return results


def _xywh(boxes: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) x1, y1, x2, y2 as float64 x, y, width, height."""
    own = boxes.astype(np.float64)
    own[:, 2:] -= own[:, :2]
    return own


def _areas(segments: Sequence[dict[str, Any]]) -> np.ndarray:
    """Pixels (n,) of masks in COCO's form."""
    parts = [mask_utils.area(list(segments[i : i + _BATCH])) for i in range(0, len(segments), _BATCH)]
    return np.concatenate(parts).astype(np.int64) if parts else np.zeros(0, np.int64)


@contextlib.contextmanager
def no_search_for_cycles() -> Iterator[None]:
    """Within the block Python does not look for cycles: among so many new dicts that takes longer than making them."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()
