"""Merging what several views of a picture say about it. Boxes are x1, y1, x2, y2 in original pixels."""

import numpy as np

from ppdet_ext.modeling.ops.boxes import nms


class WeightedMean:
    """Mean of arrays that come one at a time: memory is that of one, in float64, so that equal float32 come out unchanged."""

    def __init__(self) -> None:
        self._total: np.ndarray | None = None
        self._weight = 0.0

    def add(self, values: np.ndarray, weight: float = 1.0) -> None:
        """Arrays must be of one shape."""
        values = values.astype(np.float64) * weight
        self._total = values if self._total is None else np.add(self._total, values, out=self._total)
        self._weight += weight

    @property
    def value(self) -> np.ndarray:
        """Float64. TypeError where nothing was added."""
        return self._total / self._weight


def merge_proposals(boxes: np.ndarray, scores: np.ndarray, view: np.ndarray, iou_threshold: float, max_keep: int) -> np.ndarray:
    """Indices of the proposals of all views that are kept, best first; ties keep input order.

    A proposal goes when its IoU with a kept better one *of another view* is greater than the threshold. Within a view the
    RPN has already suppressed each level by itself, and its cross-level neighbours are the model's own choice: so one view's
    proposals pass unchanged, and the same view twice is that view once.

    Args:
        boxes: (n, 4) px.
        scores: (n,).
        view: (n,) number of the view each is from.
        iou_threshold: suppress above this IoU.
        max_keep: how many are kept at most.
    """
    return nms(boxes, scores, iou_threshold, max_keep, source=view)


def per_class(boxes: np.ndarray, classes: int) -> np.ndarray:
    """Boxes (n, 4) or (n, classes, 4) -> (n, classes, 4)."""
    return boxes if boxes.ndim == 3 else np.repeat(boxes[:, None], classes, axis=1)
