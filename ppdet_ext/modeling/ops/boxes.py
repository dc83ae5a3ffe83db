"""Boxes in numpy: overlap, delta coding, clipping and NMS of classes. Boxes are (n, 4) float32 x1, y1, x2, y2 in px, no +1."""

import numpy as np

from ppdet_ext.structures import TestSettings
from ppdet_ext.structures.nms import nms

MAX_LOG_RATIO = np.float32(np.log(1000 / 16))  # both sides, as the reference clamps dw and dh


def pairwise_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union, (len(a), len(b)) float32. Empty boxes give 0."""
    left_top = np.maximum(a[:, None, :2], b[None, :, :2])
    right_bottom = np.minimum(a[:, None, 2:], b[None, :, 2:])
    size = np.clip(right_bottom - left_top, 0, None)
    inter = size[..., 0] * size[..., 1]
    union = area(a)[:, None] + area(b)[None, :] - inter
    # Two empty boxes have no union; the bound is the reference's.
    return inter / np.maximum(union, np.float32(1e-6))


def area(boxes: np.ndarray) -> np.ndarray:
    """Areas in px², (n,)."""
    return (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])


def encode(boxes: np.ndarray, targets: np.ndarray, stds: np.ndarray) -> np.ndarray:
    """Deltas (n, 4) float32 that `decode` turns `boxes` into `targets` with (R-CNN, arXiv 1311.2524, appendix C)."""
    size, goal = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    centre, goal_centre = (boxes[:, :2] + boxes[:, 2:]) * 0.5, (targets[:, :2] + targets[:, 2:]) * 0.5
    deltas = np.concatenate([(goal_centre - centre) / size, np.log(goal / size)], axis=1)
    return (deltas / np.asarray(stds, np.float32)).astype(np.float32)


def decode(boxes: np.ndarray, deltas: np.ndarray, stds: np.ndarray, height: float, width: float) -> np.ndarray:
    """Apply deltas (n, 4) to boxes and clip to an image of `height` × `width` px. Float32."""
    deltas = deltas * np.asarray(stds, np.float32)
    centre, size = (boxes[:, :2] + boxes[:, 2:]) * np.float32(0.5), boxes[:, 2:] - boxes[:, :2]
    centre = centre + size * deltas[:, :2]
    half = size * np.exp(np.clip(deltas[:, 2:], -MAX_LOG_RATIO, MAX_LOG_RATIO)) * np.float32(0.5)
    return clip(np.concatenate([centre - half, centre + half], axis=1), height, width).astype(np.float32)


def clip(boxes: np.ndarray, height: float, width: float) -> np.ndarray:
    """Boxes cut to [0, width] × [0, height]."""
    limit = np.array([width, height, width, height], np.float32)
    return np.clip(boxes, np.float32(0), limit)


def multiclass_nms(
    boxes: np.ndarray, scores: np.ndarray, score_threshold: float, iou_threshold: float, max_detections: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """NMS per class.

    Args:
        boxes: (n, 4) float32, shared by all classes, or (n, classes, 4).
        scores: (n, classes) float32, background not included.
        score_threshold: a score counts when it is greater.
        iou_threshold: suppress above this IoU.
        max_detections: best over all classes that are returned.

    Returns:
        Indices into boxes, labels (int64) and scores, best first.
    """
    found = []
    for label in range(scores.shape[1]):
        index = np.flatnonzero(scores[:, label] > score_threshold)
        if index.size:
            own = boxes if boxes.ndim == 2 else boxes[:, label]
            keep = index[nms(own[index], scores[index, label], iou_threshold, max_detections)]
            found.append((keep, np.full(keep.shape, label, np.int64), scores[keep, label]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
    index, labels, best = (np.concatenate(part) for part in zip(*found))
    order = np.argsort(-best, kind="stable")[:max_detections]
    return index[order], labels[order], best[order]


def select_objects(boxes: np.ndarray, scores: np.ndarray, settings: TestSettings) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pick the objects of an image from its regions by `multiclass_nms`.

    Args:
        boxes: (n, 4), or (n, classes, 4).
        scores: (n, classes) float32.
        settings: thresholds.

    Returns:
        Boxes (m, 4) of the objects' own classes, scores (m,) and labels (m,) int64, best first.
    """
    index, labels, best = multiclass_nms(boxes, scores, settings.score_threshold, settings.nms_iou, settings.max_detections)
    return boxes[index] if boxes.ndim == 2 else boxes[index, labels], best, labels
