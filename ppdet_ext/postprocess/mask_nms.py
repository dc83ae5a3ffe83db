"""Non-maximum suppression of masks."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections, Rle

from .base import PerClass, Step, per_class


@register_step
class MaskNMS(Step):
    """Of masks of one class whose IoU is greater than `iou`, only the one with the best score is kept.

    Greedy; ties in score keep the earlier one. A class that a mapping does not name keeps all its masks.
    """

    takes_masks = True

    def __init__(self, iou: PerClass = 0.5) -> None:
        self.iou = iou

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._iou = per_class(self.iou, class_names, category_ids, "MaskNMS.iou", 1.0, low=0, high=1)

    def __call__(self, found: Detections, name: str) -> Detections:
        masks = self.masks_of(found, name)
        kept = np.zeros(len(found), bool)
        for label in np.unique(found.labels):
            own = np.flatnonzero(found.labels == label)
            own = own[np.argsort(-found.scores[own], kind="stable")]
            ious = Rle.iou_matrix([masks[i] for i in own], [masks[i] for i in own])
            alive = np.ones(len(own), bool)
            for i in range(len(own)):
                if alive[i]:
                    alive[i + 1 :] &= ious[i, i + 1 :] <= self._iou[label]
            kept[own] = alive
        return found.select(kept)
