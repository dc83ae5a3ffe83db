"""Average precision and recall of classes from tables of matches, equal to COCOeval's to the last bit."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ppdet_ext.evaluation.coco_mask_ap import IGNORED, RECALLS, RIGHT, interpolated

from .tables import Tables

AT_50, AT_75 = 0, 5


class ClassAP(NamedTuple):
    """precision: (10, 101) interpolated, None where nothing is annotated. recall: (10,) at 100 detections. instances."""

    precision: np.ndarray | None
    recall: np.ndarray
    instances: int

    @property
    def ap(self) -> float | None:
        return None if self.precision is None else float(self.precision.mean())

    @property
    def ap50(self) -> float | None:
        return None if self.precision is None else float(self.precision[AT_50].mean())

    @property
    def ap75(self) -> float | None:
        return None if self.precision is None else float(self.precision[AT_75].mean())

    @property
    def ar(self) -> float | None:
        return None if self.precision is None else float(self.recall.mean())


def average_precision(scores: np.ndarray, verdicts: np.ndarray, instances: int) -> ClassAP:
    """Of one class: scores (n,) and verdicts (thresholds, n) of its detections, images by rising id; see `interpolated`."""
    thresholds = len(verdicts)
    if not instances:
        return ClassAP(None, np.zeros(thresholds), 0)
    if not len(scores):
        return ClassAP(np.zeros((thresholds, len(RECALLS))), np.zeros(thresholds), instances)
    precision = interpolated(scores, verdicts, instances)
    return ClassAP(precision, (verdicts == RIGHT).sum(axis=1) / instances, instances)


def class_precisions(tables: Tables, kind: str | None = None) -> list[ClassAP]:
    """Of each class, over all sizes."""
    matched = tables.kinds[kind or tables.primary]
    verdicts, counted, instances = matched.verdicts, matched.counted, tables.instances()
    found = []
    for label in range(tables.classes):
        own = np.flatnonzero(counted & (tables.found.label == label))
        found.append(average_precision(tables.found.score[own], verdicts[:, own], int(instances[label])))
    return found


def ap_of_part(tables: Tables, truths: np.ndarray, found: np.ndarray, at_50: bool = False) -> list[ClassAP]:
    """Of each class, of a part of the objects; what is outside counts neither way, as in COCO's size ranges.

    Args:
        truths: (n,) bool, the annotated objects that count.
        found: (n,) bool, the detections that count if they match nothing.
        at_50: at IoU .5 alone, in place of the ten thresholds.

    Unlike there, matches are those of the whole set: nothing is matched again.
    """
    matched = tables.matched
    thresholds = slice(1) if at_50 else slice(None)
    verdicts, taken = matched.verdicts[thresholds], matched.taken[thresholds]
    outside = np.where(taken >= 0, ~truths[np.maximum(taken, 0)] if len(truths) else True, ~found)
    verdicts = np.where(outside, IGNORED, verdicts)
    counts = np.bincount(tables.truths.label[truths & ~tables.truths.crowd], minlength=tables.classes)
    result = []
    for label in range(tables.classes):
        own = np.flatnonzero(matched.counted & (tables.found.label == label)) if counts[label] else np.zeros(0, np.int64)
        result.append(average_precision(tables.found.score[own], verdicts[:, own], int(counts[label])))
    return result


def mean_of(values: list[float | None]) -> float | None:
    """Of those that are there; None where none is."""
    there = [value for value in values if value is not None]
    return float(np.mean(there)) if there else None


def number(value: float) -> float | None:
    """A number of pycocotools, whose -1 is none."""
    return None if value < 0 or math.isnan(value) else float(value)
