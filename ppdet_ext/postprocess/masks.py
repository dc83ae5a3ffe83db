"""Steps that change masks: filled holes, no specks, no pixels that several claim."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ppdet_ext.registry import register_step
from ppdet_ext.structures import Detections, Rle

from .base import PerClass, Step, per_class


@register_step
class FillHoles(Step):
    """Fills every background region (4-connected) of a mask that does not reach the image's border. Boxes stay."""

    takes_masks = True

    def __call__(self, detections: Detections, name: str) -> Detections:
        return replace(detections, masks=[mask.fill_holes() for mask in self.masks_of(detections, name)])


@register_step
class RemoveSmallComponents(Step):
    """Of each mask keeps the 8-connected parts of at least `area` px of the original image; masks that end empty are dropped.

    A class that a mapping does not name keeps all parts. The box of a mask that lost a part becomes that of the mask.

    area: px, for all classes or by class.
    """

    takes_masks = True

    def __init__(self, area: PerClass) -> None:
        self.area = area

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._area = per_class(self.area, class_names, category_ids, "RemoveSmallComponents.area", 0, low=0)

    def __call__(self, detections: Detections, name: str) -> Detections:
        masks = self.masks_of(detections, name)
        return with_masks(detections, [_large_parts(mask, self._area[label]) for mask, label in zip(masks, detections.labels)])


def _large_parts(mask: Rle, area: float) -> Rle:
    parts = mask.components()
    large = [part for part in parts if part.area >= area]
    if len(large) == len(parts):
        return mask
    return Rle.merge(large) if large else Rle.empty(*mask.size)


@register_step
class SuppressOverlaps(Step):
    """By falling score, each mask loses the pixels of better masks, so that none overlap; masks that end empty are dropped.

    As the first place of iMaterialist 2019 did (`hard_overlaps_suppression` of github.com/amirassov/kaggle-imaterialist).
    Ties in score keep the earlier mask whole. The box of a mask that lost pixels becomes that of the mask.

    same_class: only masks of the same class count; otherwise those of all classes.
    """

    takes_masks = True

    def __init__(self, same_class: bool = True) -> None:
        self.same_class = same_class

    def __call__(self, detections: Detections, name: str) -> Detections:
        masks = self.masks_of(detections, name)
        order = np.argsort(-detections.scores, kind="stable")
        meet = boxes_meet(masks)
        if self.same_class:
            meet &= detections.labels[:, None] == detections.labels
        changed = list(masks)
        for place, i in enumerate(order):
            better = [masks[j] for j in order[:place] if meet[i, j]]
            if better:
                changed[i] = masks[i].subtract(Rle.merge(better))
        return with_masks(detections, changed)


def with_masks(detections: Detections, masks: Sequence[Rle]) -> Detections:
    """The detections with smaller masks: where one lost pixels its box becomes the mask's, where none is left it is dropped.

    A mask that stays as it is keeps the box the model predicted, which is finer than a pixel.
    """
    changed = np.array([before != after for before, after in zip(detections.masks or [], masks)], np.bool_)
    kept = np.array([not lost or bool(mask) for lost, mask in zip(changed, masks)], bool)
    boxes = detections.boxes.copy()
    for i in np.flatnonzero(changed & kept):
        boxes[i] = masks[i].box
    return replace(detections, boxes=boxes, masks=list(masks)).select(kept)


def boxes_meet(masks: Sequence[Rle]) -> np.ndarray:
    """(n, n) bool: whether the boxes of two masks share pixels; only then can the masks."""
    x1, y1, x2, y2 = np.array([mask.box for mask in masks], np.float64).reshape(-1, 4).T
    across = np.minimum(x2[:, None], x2) > np.maximum(x1[:, None], x1)
    return across & (np.minimum(y2[:, None], y2) > np.maximum(y1[:, None], y1))
