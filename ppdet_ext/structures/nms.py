"""Greedy non-maximum suppression of boxes, of models and of steps."""

import numpy as np


def nms(
    boxes: np.ndarray,
    scores: np.ndarray,
    threshold: float,
    max_keep: int | None = None,
    source: np.ndarray | None = None,
) -> np.ndarray:
    """Indices kept by greedy non-maximum suppression, best score first.

    A box goes when its IoU with a kept better one is greater than `threshold`. Ties in score keep input order.
    Stops after `max_keep` boxes, which saves nearly all work when few of many boxes are wanted. With `source` (n,), boxes of
    the same source let each other be.
    """
    # Stable, so that equal scores keep the caller's order and a run is the same everywhere.
    order = np.argsort(-scores, kind="stable")
    # Columns that lie together: the loop below reads one coordinate of all boxes at a time.
    x1, y1, x2, y2 = np.ascontiguousarray(boxes[order].T)
    areas = (x2 - x1) * (y2 - y1)
    alive: np.ndarray = np.arange(len(order))
    keep: list[int] = []
    limit = len(order) if max_keep is None else max_keep
    while alive.size and len(keep) < limit:
        best, alive = alive[0], alive[1:]
        keep.append(best)
        w = np.minimum(x2[alive], x2[best]) - np.maximum(x1[alive], x1[best])
        h = np.minimum(y2[alive], y2[best]) - np.maximum(y1[alive], y1[best])
        inter = np.maximum(w, 0) * np.maximum(h, 0)
        # Multiplied out: no division by the union of two empty boxes.
        stays = inter <= threshold * (areas[alive] + areas[best] - inter)
        if source is not None:
            stays |= source[order[alive]] == source[order[best]]
        alive = alive[stays]
    return order[keep]
