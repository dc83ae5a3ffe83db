"""Numbers and curves of each class, and the score that is best to cut at."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from .pairs import MASKS
from .precision import AT_50, AT_75, ClassAP
from .schema import ClassNumbers, ClassRow, Curve, Curves
from .tables import Tables

SCORES = np.round(np.linspace(0, 1, 101), 2)
_DIGITS = 6  # of curves over the score


class BestF1(NamedTuple):
    """The highest F1 and where it is; None where nothing is annotated, or nothing right is found."""

    f1: float | None
    threshold: float | None
    precision: float | None
    recall: float | None


class Rates(NamedTuple):
    """Precision, recall and F1 at one score; None where they do not exist."""

    precision: float | None
    recall: float | None
    f1: float | None


def best_f1(score: np.ndarray, right: np.ndarray, wrong: np.ndarray, instances: int) -> BestF1:
    """Over all thresholds that are some detection's score; of equal F1s the highest threshold.

    score (n,) float64, right and wrong (n,) bool of detections; others are in crowds.
    """
    if not instances or not right.any():
        return BestF1(None, None, None, None)
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    hits, misses = np.cumsum(right[order]), np.cumsum(wrong[order])
    # A threshold takes all detections of that score, or none.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True) & (hits > 0))
    f1 = 2 * hits[ends] / (hits[ends] + misses[ends] + instances)
    best = ends[int(f1.argmax())]
    found = hits[best] + misses[best]
    return BestF1(float(f1.max()), float(ranked[best]), float(hits[best] / found), float(hits[best] / instances))


def rates(right: int, wrong: int, instances: int) -> Rates:
    """Of counts of right and wrong detections, and of what is annotated."""
    found = right + wrong
    return Rates(
        right / found if found else None,
        right / instances if instances else None,
        2 * right / (found + instances) if found + instances else None,
    )


def overall_best(tables: Tables) -> BestF1:
    """Of all classes together."""
    matched = tables.matched
    return best_f1(tables.found.score, matched.right, matched.wrong, int(tables.instances().sum()))


def class_rows(tables: Tables, precisions: dict[str, list[ClassAP]], score: float) -> list[ClassRow]:
    """A row for each class. precisions: by kind of IoU, of each class."""
    truths, found = tables.truths, tables.found
    instances = tables.instances()
    numbers = {kind: _numbers(tables, kind, precisions[kind], score) for kind in tables.kinds}
    rows = []
    for label, name in enumerate(tables.class_names):
        images = len(np.unique(truths.image[(truths.label == label) & ~truths.crowd]))
        own = int((found.label == label).sum())
        rows.append(ClassRow(label, name, int(instances[label]), images, own, {k: of[label] for k, of in numbers.items()}))
    return rows


def _numbers(tables: Tables, kind: str, precisions: list[ClassAP], score: float) -> list[ClassNumbers]:
    matched, found = tables.kinds[kind], tables.found
    iou, certain, instances = matched.iou_of_taken(), found.score >= score, tables.instances()
    dice = _dice(tables, score) if kind == MASKS else [None] * tables.classes
    rows = []
    for label, own_ap in enumerate(precisions):
        own = found.label == label
        best = best_f1(found.score[own], matched.right[own], matched.wrong[own], int(instances[label]))
        hits = own & certain & matched.right
        rows.append(
            ClassNumbers(
                ap=own_ap.ap, ap50=own_ap.ap50, ap75=own_ap.ap75, ar=own_ap.ar,
                best_f1=best.f1, threshold=best.threshold, precision=best.precision, recall=best.recall,
                tp=int(hits.sum()), fp=int((own & certain & matched.wrong).sum()), fn=int(instances[label] - hits.sum()),
                mean_iou=float(iou[hits].mean()) if hits.any() else None, dice=dice[label],
            )
        )  # fmt: skip
    return rows


def _dice(tables: Tables, score: float) -> list[float | None]:
    """Of each class 2·shared / (annotated + found) pixels of the unions of its masks, summed over images."""
    shared, total = np.zeros(tables.classes), np.zeros(tables.classes)
    for record, found in zip(tables.records, tables.detections):
        labels = np.where(found.scores.astype(np.float64) >= score, found.labels, -1)
        for label in np.union1d(record.labels, labels[labels >= 0]).tolist():
            annotated = [record.masks[i].to_coco() for i in np.flatnonzero(record.labels == label)]
            own = [(found.masks or [])[i].to_coco() for i in np.flatnonzero(labels == label)]
            unions = [mask_utils.merge(masks) for masks in (annotated, own) if masks]
            total[label] += sum(int(mask_utils.area(union)) for union in unions)
            if len(unions) == 2:
                shared[label] += int(mask_utils.area(mask_utils.merge(unions, intersect=True)))
    return [float(2 * a / b) if b else None for a, b in zip(shared, total)]


def curves(tables: Tables, precisions: dict[str, list[ClassAP]]) -> Curves:
    """Of all classes, and of each that is annotated or found, for each kind of IoU."""
    made = []
    instances = tables.instances()
    for kind, own in precisions.items():
        made.append(_curve(tables, kind, None, own, int(instances.sum())))
        for label in np.flatnonzero(instances + np.bincount(tables.found.label, minlength=tables.classes)).tolist():
            made.append(_curve(tables, kind, label, [own[label]], int(instances[label])))
    return Curves(SCORES.tolist(), made)


def _curve(tables: Tables, kind: str, label: int | None, precisions: list[ClassAP], instances: int) -> Curve:
    there = [one.precision for one in precisions if one.precision is not None]
    # As COCO does: the mean over classes at each recall.
    mean = np.mean(there, axis=0) if there else np.zeros((10, 0))
    matched, chosen = tables.kinds[kind], slice(None) if label is None else tables.found.label == label
    score = tables.found.score[chosen]
    levels = [_at_least(score[flags[chosen]]) for flags in (matched.right, matched.wrong)]
    over = [rates(int(right), int(wrong), instances) for right, wrong in zip(*levels)]
    return Curve(
        label,
        kind,
        mean[AT_50].tolist(),
        mean[AT_75].tolist(),
        mean.mean(axis=0).tolist() if there else [],
        *([None if value is None else round(value, _DIGITS) for value in column] for column in zip(*over)),
    )


def _at_least(score: np.ndarray) -> np.ndarray:
    """(101,) how many scores are at least each of `SCORES`."""
    return len(score) - np.searchsorted(np.sort(score), SCORES, side="left")


def mean_rates(tables: Tables, score: float) -> Rates:
    """Precision, recall and F1 at a score, of all classes together."""
    certain = tables.found.score >= score
    right, wrong = (int((flags & certain).sum()) for flags in (tables.matched.right, tables.matched.wrong))
    return rates(right, wrong, int(tables.instances().sum()))
