"""Which detections and annotated objects of an image overlap, and how much: the overlapping pairs alone are kept."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.structures import Detections, Record, Rle

MASKS, BOXES = "segm", "bbox"
# Detections compared at a time: an image of 2,000 objects takes 4 MB, not the 32 of a whole matrix.
_BLOCK = 256


class Pairs(NamedTuple):
    """Pairs whose IoU is above 0, by `a`, then `b`. a, b: (n,) int64 positions; iou: (n,) float64, pycocotools' own."""

    a: np.ndarray
    b: np.ndarray
    iou: np.ndarray

    def select(self, index: np.ndarray) -> Pairs:
        """The pairs that a boolean mask or an array of positions names."""
        return Pairs(self.a[index], self.b[index], self.iou[index])


def overlaps(record: Record, detections: Detections, kind: str) -> Pairs:
    """Pairs of detections (a) and annotated objects (b) of whatever classes.

    kind: MASKS or BOXES. Of a crowd the shared part of the detection counts, as in COCO.
    """
    crowd = [int(flag) for flag in record.crowd]
    if kind == MASKS:
        return _blocks(coded(detections.masks or []), coded(record.masks), crowd)
    return _blocks(xywh(detections.boxes), xywh(record.boxes), crowd)


def among(objects: Sequence[Rle] | np.ndarray) -> Pairs:
    """Pairs a < b of masks, or of boxes (n, 4) x1 y1 x2 y2, that overlap each other."""
    regions = xywh(objects) if isinstance(objects, np.ndarray) else coded(objects)
    pairs = _blocks(regions, regions, [0] * len(regions))
    return pairs.select(pairs.a < pairs.b)


def coded(masks: Sequence[Rle]) -> list[dict]:
    """Masks as pycocotools takes them."""
    return [mask.to_coco() for mask in masks]


def xywh(boxes: np.ndarray) -> np.ndarray:
    """Boxes x1 y1 x2 y2 as pycocotools takes them: x y w h, float64."""
    own = boxes.astype(np.float64).reshape(-1, 4)
    own[:, 2:] -= own[:, :2]
    return own


def _blocks(a: list[dict] | np.ndarray, b: list[dict] | np.ndarray, crowd: list[int]) -> Pairs:
    none: np.ndarray = np.zeros(0, np.int64)
    rows, columns, values = [none], [none], [none.astype(np.float64)]
    for start in range(0, len(a) if len(b) else 0, _BLOCK):
        iou = np.asarray(mask_utils.iou(a[start : start + _BLOCK], b, crowd))
        row, column = np.nonzero(iou)
        rows.append(row + start)
        columns.append(column)
        values.append(iou[row, column])
    return Pairs(np.concatenate(rows), np.concatenate(columns), np.concatenate(values))
