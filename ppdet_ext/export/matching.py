"""Comparing objects: which of one list are which of another, and how far apart they are."""

from collections.abc import Mapping

import numpy as np

BOXES, SCORES, LABELS, PROBS, IMAGE, UNMATCHED = "boxes", "scores", "labels", "probs", "image", "unmatched"
MASKS = "masks"  # pasted into the image
_OVERLAP = 0.7  # IoU of what counts as the same object


def match(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Places (n,) in `a` and (n,) in `b` of the objects that both have: same image and class, boxes that overlap most.

    Each gives boxes (k, 4), scores (k,), labels (k,), image (k,).
    """
    overlap = _iou(a[BOXES], b[BOXES])
    alike = (a[LABELS][:, None] == b[LABELS]) & (a[IMAGE][:, None] == b[IMAGE])
    # Of two that overlap alike, the one of nearer score.
    closeness = np.where(alike & (overlap >= _OVERLAP), overlap - np.abs(a[SCORES][:, None] - b[SCORES]), -np.inf)
    rows, columns = [], []
    for flat in np.argsort(-closeness, axis=None, kind="stable"):
        row, column = np.unravel_index(flat, closeness.shape)
        if not np.isfinite(closeness[row, column]):
            break
        if row not in rows and column not in columns:
            rows.append(int(row))
            columns.append(int(column))
    return np.array(rows, int), np.array(columns, int)


def object_differences(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Largest and mean absolute difference of boxes (px), scores and probs of matched objects, and the share unmatched."""
    rows, columns = match(a, b)
    differences = {}
    for name in (BOXES, SCORES, PROBS):
        if name in a:
            apart = np.abs(a[name][rows].astype(np.float64) - b[name][columns])
            differences[name] = float(apart.max(initial=0.0)), float(apart.mean()) if apart.size else 0.0
    total = len(a[SCORES]) + len(b[SCORES])
    share = 1 - 2 * len(rows) / total if total else 0.0
    return {**differences, UNMATCHED: (share, share)}


def _iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Boxes (n, 4) and (m, 4) -> (n, m); boxes without area overlap nothing."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    common = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(own[:, 2:] - own[:, :2], 0, None), axis=1) for own in (a, b)]
    whole = areas[0][:, None] + areas[1] - common
    return np.divide(common, whole, out=np.zeros_like(common, dtype=np.float64), where=whole > 0)
