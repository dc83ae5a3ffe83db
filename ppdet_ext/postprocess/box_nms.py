"""Non-maximum suppression of boxes."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.host.registry import register_step
from ppdet_ext.modeling.ops.boxes import nms
from ppdet_ext.structures import Detections
from ppdet_ext.structures.candidates import Candidates

from .base import PerClass, Step, per_class


@register_step
class BoxNMS(Step):
    """Of boxes of one class whose IoU is greater than `iou`, only the one with the best score is kept.

    Greedy, as `box_ops.nms`; ties in score keep the earlier one. A class that a mapping does not name keeps all its boxes.
    """

    def __init__(self, iou: PerClass = 0.5) -> None:
        self.iou = iou

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._iou = per_class(self.iou, class_names, category_ids, "BoxNMS.iou", 1.0, low=0, high=1).tolist()

    def __call__(self, found: Candidates | Detections, name: str) -> Candidates | Detections:
        kept = [np.zeros(0, np.int64)]
        for label in np.unique(found.labels):
            own = np.flatnonzero(found.labels == label)
            kept.append(own[nms(found.boxes[own], found.scores[own], self._iou[label])])
        return found.select(np.sort(np.concatenate(kept)))
