"""One class in all images: its candidates side by side, so that a setting selects among them in a few array operations."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ppdet_ext.evaluation.metric import PartialMetric
from ppdet_ext.inference.candidate_file import restored
from ppdet_ext.modeling.ops.boxes import nms
from ppdet_ext.structures import Candidates, Record

from .setting import Thresholds

# Of one image: what the metric prepared, and the masks' areas (n,) in px.
Prepared = tuple[Any, np.ndarray]


class ClassScorer:
    """Candidates of one class by image and falling score, and the metric's partials of them.

    Args:
        label: the class.
        metric: started.
        records, candidates: of the same images; candidates as `quantised` gives them.
    """

    def __init__(self, label: int, metric: PartialMetric, records: Sequence[Record], candidates: Sequence[Candidates]) -> None:
        self.metric = metric
        self.truth = [record.of_class(label) for record in records]
        self.instances = sum(len(truth.masks) for truth in self.truth)
        orders = [_falling(one, label) for one in candidates]
        self.images = [image for image, order in enumerate(orders) if len(order)]
        self.own = {image: candidates[image].select(orders[image]) for image in self.images}
        ends = np.cumsum([0, *(len(self.own[image]) for image in self.images)]).tolist()
        self.parts = [slice(start, end) for start, end in zip(ends, ends[1:])]
        self.scores = np.concatenate([np.zeros(0, np.float32), *(self.own[image].scores for image in self.images)])
        # Thresholds are float64, and numpy 1 and 2 disagree about a float32 array beside a float64 number.
        self._wide_scores = self.scores.astype(np.float64)
        none = np.zeros(0, np.int64)
        self.blank = [metric.partial(metric.prepare(truth, []), np.zeros(0, np.float32), none) for truth in self.truth]
        self._kept: dict[float, np.ndarray] = {}
        self._prepared: dict[float, list[Prepared]] = {}
        self._areas: dict[float, np.ndarray] = {}
        self._known: dict[tuple[float, int, bytes], Any] = {}
        self._partials: dict[Thresholds, list[Any]] = {}

    def prepare(self, image: int, mask_threshold: float) -> Prepared:
        """Cut this class's masks of one image and show them to the metric."""
        masks = restored(self.own[image]).detections(mask_threshold).masks or []
        areas = np.array([mask.area for mask in masks], np.int64)
        return self.metric.prepare(self.truth[image], masks), areas

    def is_prepared(self, mask_threshold: float) -> bool:
        return mask_threshold in self._prepared

    def accept(self, mask_threshold: float, prepared: Sequence[Prepared]) -> None:
        """Take what `prepare` gave for each of `images`."""
        self._prepared[mask_threshold] = list(prepared)
        self._areas[mask_threshold] = np.concatenate([np.zeros(0, np.int64), *(areas for _, areas in prepared)])

    def chosen(self, thresholds: Thresholds) -> np.ndarray:
        """(n,) bool: the candidates that remain."""
        chosen = self._after_nms(thresholds.nms_iou) & (self._wide_scores >= thresholds.score)
        return chosen & (self._areas[thresholds.mask_threshold] >= thresholds.area)

    def partials(self, thresholds: Thresholds) -> list[Any]:
        """The metric's partial of each image."""
        if thresholds not in self._partials:
            if not self.is_prepared(thresholds.mask_threshold):
                every = [self.prepare(image, thresholds.mask_threshold) for image in self.images]
                self.accept(thresholds.mask_threshold, every)
            self._partials[thresholds] = self._new_partials(thresholds)
        return self._partials[thresholds]

    def _new_partials(self, thresholds: Thresholds) -> list[Any]:
        partials = list(self.blank)
        chosen, threshold = self.chosen(thresholds), thresholds.mask_threshold
        for place, (image, part) in enumerate(zip(self.images, self.parts)):
            own = chosen[part]
            key = (threshold, image, own.tobytes())
            partial = self._known.get(key, self)
            if partial is self:
                prepared = self._prepared[threshold][place][0]
                partial = self._known[key] = self.metric.partial(prepared, self.scores[part], np.flatnonzero(own))
            partials[image] = partial
        return partials

    def _after_nms(self, iou: float) -> np.ndarray:
        if iou not in self._kept:
            kept = np.zeros(len(self.scores), bool)
            for image, part in zip(self.images, self.parts):
                own = self.own[image]
                kept[part.start + nms(own.boxes, own.scores, iou)] = True
            self._kept[iou] = kept
        return self._kept[iou]


def _falling(candidates: Candidates, label: int) -> np.ndarray:
    """Positions of a class by falling score, ties in their order, as `PartialMetric.compute` takes them."""
    order = np.argsort(-candidates.scores, kind="stable")
    return order[candidates.labels[order] == label]
