"""Pixels that several masks claim."""

import numpy as np

from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections, Rle

from .base import Step
from .changed_masks import boxes_meet, with_masks


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

    def __call__(self, found: Detections, name: str) -> Detections:
        masks = self.masks_of(found, name)
        order = np.argsort(-found.scores, kind="stable")
        meet = boxes_meet(masks)
        if self.same_class:
            meet &= found.labels[:, None] == found.labels
        changed = list(masks)
        for place, i in enumerate(order):
            better = [masks[j] for j in order[:place] if meet[i, j]]
            if better:
                changed[i] = masks[i].subtract(Rle.merge(better))
        return with_masks(found, changed)
