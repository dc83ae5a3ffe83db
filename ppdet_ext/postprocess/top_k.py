"""At most so many of an image."""

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections
from ppdet_ext.structures.candidates import Candidates

from .base import Step


@register_step
class TopK(Step):
    """Keeps the `k` best scores of an image, or with `per_class` of each class in it. Ties keep the earlier one."""

    def __init__(self, k: int, per_class: bool = False) -> None:
        """UserError unless k is a whole number of at least 1."""
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise UserError(f"TopK.k: {k!r} is no whole number of 1 or more.")
        self.k, self.per_class = k, per_class

    def __call__(self, found: Candidates | Detections, name: str) -> Candidates | Detections:
        order = np.argsort(-found.scores, kind="stable")
        groups = found.labels[order] if self.per_class else np.zeros(len(order), np.int64)
        best = [order[groups == group][: self.k] for group in np.unique(groups)]
        return found.select(np.sort(np.concatenate([np.zeros(0, np.int64), *best])))
