"""Dropping small objects."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections

from .base import PerClass, Step, per_class


@register_step
class MinArea(Step):
    """Keeps masks of at least `area` px of the original image. Classes that a mapping does not name keep all."""

    takes_masks = True

    def __init__(self, area: PerClass = 1) -> None:
        self.area = area

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._area = per_class(self.area, class_names, category_ids, "MinArea.area", 0, low=0)

    def __call__(self, found: Detections, name: str) -> Detections:
        areas = np.array([mask.area for mask in self.masks_of(found, name)], np.int64)
        return found.select(areas >= self._area[found.labels])
