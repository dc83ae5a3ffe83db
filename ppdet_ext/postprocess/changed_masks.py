"""What steps that change masks have in common."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ppdet_ext.structures import Detections, Rle


def with_masks(found: Detections, masks: Sequence[Rle]) -> Detections:
    """The detections with smaller masks: where one lost pixels its box becomes the mask's, where none is left it is dropped.

    A mask that stays as it is keeps the box the model predicted, which is finer than a pixel.
    """
    changed = np.array([before != after for before, after in zip(found.masks, masks)], bool)
    kept = np.array([not lost or bool(mask) for lost, mask in zip(changed, masks)], bool)
    boxes = found.boxes.copy()
    for i in np.flatnonzero(changed & kept):
        boxes[i] = masks[i].box
    return replace(found, boxes=boxes, masks=list(masks)).select(kept)


def boxes_meet(masks: Sequence[Rle]) -> np.ndarray:
    """(n, n) bool: whether the boxes of two masks share pixels; only then can the masks."""
    x1, y1, x2, y2 = np.array([mask.box for mask in masks], np.float64).reshape(-1, 4).T
    across = np.minimum(x2[:, None], x2) > np.maximum(x1[:, None], x1)
    return across & (np.minimum(y2[:, None], y2) > np.maximum(y1[:, None], y1))
