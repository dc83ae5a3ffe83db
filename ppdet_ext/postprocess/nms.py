"""Non-maximum suppression of boxes and of masks."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.registry import register_step
from ppdet_ext.structures import Candidates, Detections, Rle
from ppdet_ext.structures.nms import nms

from .base import PerClass, Step, per_class


@register_step
class BoxNMS(Step):
    """Of boxes of one class whose IoU is greater than `iou`, only the one with the best score is kept.

    Greedy, as `structures.nms`; ties in score keep the earlier one. A class that a mapping does not name keeps all its boxes.

    iou: 0 to 1, for all classes or by class.
    """

    def __init__(self, iou: PerClass = 0.5) -> None:
        self.iou = iou

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._iou = per_class(self.iou, class_names, category_ids, "BoxNMS.iou", 1.0, low=0, high=1).tolist()

    def __call__(self, detections: Candidates | Detections, name: str) -> Candidates | Detections:
        kept = [np.zeros(0, np.int64)]
        for label in np.unique(detections.labels):
            own = np.flatnonzero(detections.labels == label)
            kept.append(own[nms(detections.boxes[own], detections.scores[own], self._iou[label])])
        return detections.select(np.sort(np.concatenate(kept)))


@register_step
class MaskNMS(Step):
    """Of masks of one class whose IoU is greater than `iou`, only the one with the best score is kept.

    Greedy; ties in score keep the earlier one. A class that a mapping does not name keeps all its masks.

    iou: 0 to 1, of the masks, for all classes or by class.
    """

    takes_masks = True

    def __init__(self, iou: PerClass = 0.5) -> None:
        self.iou = iou

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._iou = per_class(self.iou, class_names, category_ids, "MaskNMS.iou", 1.0, low=0, high=1)

    def __call__(self, detections: Detections, name: str) -> Detections:
        masks = self.masks_of(detections, name)
        kept = np.zeros(len(detections), bool)
        for label in np.unique(detections.labels):
            own = np.flatnonzero(detections.labels == label)
            own = own[np.argsort(-detections.scores[own], kind="stable")]
            ious = Rle.iou_matrix([masks[i] for i in own], [masks[i] for i in own])
            alive = np.ones(len(own), bool)
            for i in range(len(own)):
                if alive[i]:
                    alive[i + 1 :] &= ious[i, i + 1 :] <= self._iou[label]
            kept[own] = alive
        return detections.select(kept)
