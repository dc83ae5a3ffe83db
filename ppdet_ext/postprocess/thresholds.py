"""Steps that keep what reaches a threshold: of score, of probability, of area; or the best of an image."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.registry import register_step
from ppdet_ext.structures import Candidates, Detections

from .base import PerClass, Step, per_class


@register_step
class ScoreThreshold(Step):
    """Keeps scores of at least `score`. A class that a mapping does not name keeps all.

    score: 0 to 1, for all classes or by class.
    """

    def __init__(self, score: PerClass = 0.5) -> None:
        self.score = score

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._score = per_class(self.score, class_names, category_ids, "ScoreThreshold.score", 0.0, low=0, high=1)

    def __call__(self, detections: Candidates | Detections, name: str) -> Candidates | Detections:
        return detections.select(detections.scores.astype(np.float64) >= self._score[detections.labels])


@register_step
class MaskThreshold(Step):
    """Pixels whose probability is at least `threshold` make the mask; 0.5 for a class that a mapping does not name.

    threshold: 0.001 to 1, for all classes or by class.
    """

    needs_candidates = True
    cuts_masks = True

    def __init__(self, threshold: PerClass = 0.5) -> None:
        self.threshold = threshold

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        # At 0, all pixels around the box would be mask.
        self._threshold = per_class(
            self.threshold, class_names, category_ids, "MaskThreshold.threshold", 0.5, low=0.001, high=1
        )

    def __call__(self, detections: Candidates, name: str) -> Detections:
        return detections.detections(self._threshold[detections.labels])


@register_step
class MinArea(Step):
    """Keeps masks of at least `area` px of the original image. Classes that a mapping does not name keep all.

    area: px, for all classes or by class.
    """

    takes_masks = True

    def __init__(self, area: PerClass = 1) -> None:
        self.area = area

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._area = per_class(self.area, class_names, category_ids, "MinArea.area", 0, low=0)

    def __call__(self, detections: Detections, name: str) -> Detections:
        areas = np.array([mask.area for mask in self.masks_of(detections, name)], np.int64)
        return detections.select(areas >= self._area[detections.labels])


@register_step
class TopK(Step):
    """Keeps the `k` best scores of an image, or with `per_class` of each class in it. Ties keep the earlier one.

    k: how many, 1 or more. per_class: of each class, in place of all together.
    """

    def __init__(self, k: int, per_class: bool = False) -> None:
        """UserError unless k is a whole number of at least 1."""
        if isinstance(k, bool) or not isinstance(k, int) or k < 1:
            raise UserError(f"TopK.k: {k!r} is no whole number of 1 or more.")
        self.k, self.per_class = k, per_class

    def __call__(self, detections: Candidates | Detections, name: str) -> Candidates | Detections:
        order = np.argsort(-detections.scores, kind="stable")
        groups = detections.labels[order] if self.per_class else np.zeros(len(order), np.int64)
        best = [order[groups == group][: self.k] for group in np.unique(groups)]
        return detections.select(np.sort(np.concatenate([np.zeros(0, np.int64), *best])))
