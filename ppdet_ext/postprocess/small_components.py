"""Dropping specks of masks."""

from collections.abc import Sequence

from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections, Rle

from .base import PerClass, Step, per_class
from .changed_masks import with_masks


@register_step
class RemoveSmallComponents(Step):
    """Of each mask keeps the 8-connected parts of at least `area` px of the original image; masks that end empty are dropped.

    A class that a mapping does not name keeps all parts. The box of a mask that lost a part becomes that of the mask.
    """

    takes_masks = True

    def __init__(self, area: PerClass) -> None:
        self.area = area

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._area = per_class(self.area, class_names, category_ids, "RemoveSmallComponents.area", 0, low=0)

    def __call__(self, found: Detections, name: str) -> Detections:
        masks = self.masks_of(found, name)
        return with_masks(found, [_large_parts(mask, self._area[label]) for mask, label in zip(masks, found.labels)])


def _large_parts(mask: Rle, area: float) -> Rle:
    parts = mask.components()
    large = [part for part in parts if part.area >= area]
    if len(large) == len(parts):
        return mask
    return Rle.merge(large) if large else Rle.empty(*mask.size)
