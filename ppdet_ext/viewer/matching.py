"""Which detections of a picture are right, as COCOeval matches them, so that any score can be asked for afterwards."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.structures import Detections, Record, Rle

IOU = 0.5
# Of a detection: nothing of its class is there; it is right; it lies on a crowd, which counts nowhere.
WRONG, RIGHT, IGNORED = 0, 1, 2


@dataclass(frozen=True)
class Match:
    """Of one picture.

    hit: (n,) uint8 of the detections: `WRONG`, `RIGHT` or `IGNORED`.
    truth: (n,) int64, the annotation that each stands for; -1 for none.
    iou: (n,) float32, with that annotation, or else the highest with any of its class.
    found: (m,) float32 of the annotations: the score of the detection that stands for it; -1 for none.

    A detection is matched without regard to those of lower score, so at a threshold t the right ones are those with
    score >= t, and annotations are found where `found` >= t: no other matching is needed.
    """

    hit: np.ndarray
    truth: np.ndarray
    iou: np.ndarray
    found: np.ndarray


def match_picture(record: Record, found: Detections) -> Match:
    """Match detections with annotations of their class, by falling score, each with the free one of highest IoU >= 0.5.

    By masks, or by boxes where one of both has no masks. Crowds are matched last, and as often as wanted.
    """
    ious = _ious(record, found)
    n, m = len(found), len(record.labels)
    hit, truth = np.zeros(n, np.uint8), np.full(n, -1, np.int64)
    best, scores = np.zeros(n, np.float32), np.full(m, -1, np.float32)
    same = found.labels[:, None] == record.labels[None, :]
    ious = np.where(same, ious, 0)
    for d in np.argsort(-found.scores, kind="stable").tolist():
        if not m:
            break
        best[d] = ious[d].max()
        free = np.where(record.crowd | (scores >= 0), 0, ious[d])
        g = int(free.argmax())
        if free[g] >= IOU:
            hit[d], truth[d], best[d], scores[g] = RIGHT, g, free[g], found.scores[d]
        elif np.where(record.crowd, ious[d], 0).max() >= IOU:
            hit[d] = IGNORED
    return Match(hit, truth, best, scores)


def _ious(record: Record, found: Detections) -> np.ndarray:
    """(n, m) of detections and annotations; of a crowd the share of the detection that lies in it, as COCO has it."""
    n, m = len(found), len(record.labels)
    if not n or not m:
        return np.zeros((n, m))
    if found.masks is not None and len(record.masks) == m:
        return Rle.iou_matrix(found.masks, record.masks, record.crowd.tolist())
    boxes = [np.concatenate([b[:, :2], b[:, 2:] - b[:, :2]], 1).astype(np.float64) for b in (found.boxes, record.boxes)]
    return np.asarray(mask_utils.iou(*boxes, record.crowd.astype(np.uint8).tolist()))
