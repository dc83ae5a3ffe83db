"""One class in all images: its candidates side by side, so that a setting selects among them in a few array operations."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ppdet_ext.evaluation.metric import PartialMetric
from ppdet_ext.inference.candidate_file import restored
from ppdet_ext.postprocess.maps import around
from ppdet_ext.structures import Candidates, Record
from ppdet_ext.structures.nms import nms

from .setting import Cut, Thresholds

# Of one image: what the metric prepared, and the masks' areas (n,) in px.
Prepared = tuple[Any, np.ndarray]


class ClassScorer:
    """Candidates of one class by image and falling score, and the metric's partials of them.

    Args:
        label: the class.
        metric: started.
        records, candidates: of the same images; candidates as `quantised` gives them.
        presence: (images,) float64 probability that the class is there, for thresholds with a `c_factor`; None: 1.
    """

    def __init__(
        self,
        label: int,
        metric: PartialMetric,
        records: Sequence[Record],
        candidates: Sequence[Candidates],
        presence: np.ndarray | None = None,
    ) -> None:
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
        self._presence = np.ones(len(self.scores)) if presence is None else np.repeat(presence[self.images], np.diff(ends))
        # Of a map without a pixel that counts nothing is made; a box may have an empty mask.
        self._least = 1 if any(own.maps is not None for own in self.own.values()) else 0
        none = np.zeros(0, np.int64)
        self.blank = [metric.partial(metric.prepare(truth, []), np.zeros(0, np.float32), none) for truth in self.truth]
        self._kept: dict[float, np.ndarray] = {}
        self._prepared: dict[Cut, list[Prepared]] = {}
        self._areas: dict[Cut, np.ndarray] = {}
        self._known: dict[tuple[Cut, int, bytes], Any] = {}
        self._partials: dict[Thresholds, list[Any]] = {}

    def prepare(self, image: int, cut: Cut) -> Prepared:
        """Cut this class's masks of one image and show them to the metric."""
        own = restored(self.own[image])
        masks = own.masks(cut.threshold) or []
        if cut.core:
            masks = [around(core, mask) for core, mask in zip(own.masks(cut.core) or [], masks)]
        areas = np.array([mask.area for mask in masks], np.int64)
        return self.metric.prepare(self.truth[image], masks), areas

    def is_prepared(self, cut: Cut) -> bool:
        return cut in self._prepared

    def accept(self, cut: Cut, prepared: Sequence[Prepared]) -> None:
        """Take what `prepare` gave for each of `images`."""
        self._prepared[cut] = list(prepared)
        self._areas[cut] = np.concatenate([np.zeros(0, np.int64), *(areas for _, areas in prepared)])

    def chosen(self, thresholds: Thresholds) -> np.ndarray:
        """(n,) bool: the candidates that remain."""
        chosen = self._after_nms(thresholds.nms_iou) & (self._wide_scores >= thresholds.score)
        # In SoftGate's own order of operations, so that both round alike; without a factor it is the area itself.
        area, factor = thresholds.area, thresholds.c_factor
        wanted = area * factor - area * (factor - 1) * self._presence
        least = 1 if thresholds.core else self._least
        return chosen & (self._areas[thresholds.cut] >= np.maximum(wanted, least))

    def partials(self, thresholds: Thresholds) -> list[Any]:
        """The metric's partial of each image."""
        if thresholds not in self._partials:
            if not self.is_prepared(thresholds.cut):
                self.accept(thresholds.cut, [self.prepare(image, thresholds.cut) for image in self.images])
            self._partials[thresholds] = self._new_partials(thresholds)
        return self._partials[thresholds]

    def _new_partials(self, thresholds: Thresholds) -> list[Any]:
        partials = list(self.blank)
        chosen, cut = self.chosen(thresholds), thresholds.cut
        for place, (image, part) in enumerate(zip(self.images, self.parts)):
            own = chosen[part]
            key = (cut, image, own.tobytes())
            partial = self._known.get(key, self)
            if partial is self:
                prepared = self._prepared[cut][place][0]
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
