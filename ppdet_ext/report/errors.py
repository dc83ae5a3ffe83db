"""Why detections are wrong and objects missed: TIDE's six kinds (Bolya et al. 2020, arXiv 2008.08115), decided in its order.

Two programs that call themselves TIDE differ in details; the definitions that hold here are those of `DEFINITIONS`.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppdet_ext.evaluation.coco_mask_ap import RIGHT, WRONG

from .precision import average_precision, mean_of
from .schema import ErrorKind
from .tables import IOU, Tables

NEAR = 0.1  # below, a detection and a truth have nothing to do with each other
IMAGES = 5
LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND, BOTH, MISSED = (
    "localisation", "classification", "duplicate", "background", "both", "missed",
)  # fmt: skip
TITLES = {
    CLASSIFICATION: "Wrong class",
    LOCALISATION: "Badly placed or drawn",
    BOTH: "Wrong class and badly placed",
    DUPLICATE: "Found twice",
    BACKGROUND: "Nothing there",
    MISSED: "Missed",
}
DEFINITIONS = {
    CLASSIFICATION: "IoU of .5 or more with an object of another class, and not from .1 to .5 with one of its own. "
    "Mended: it gets that class, unless the object is found already.",
    LOCALISATION: "IoU from .1 to .5 with an object of its class. Mended: it counts as right, unless that is found already.",
    BOTH: "IoU from .1 to .5 with an object of another class, none nearer. Mended: taken away.",
    DUPLICATE: "IoU of .5 or more with an object of its class that a surer detection has found. Mended: taken away.",
    BACKGROUND: "IoU below .1 with every object. Mended: taken away.",
    MISSED: "Objects that no detection finds, and that no wrong class or bad place explains. Mended: they are not asked for.",
}
# The order in which a wrong detection is tried, each kind being for what those before it do not explain.
_KINDS = (LOCALISATION, CLASSIFICATION, DUPLICATE, BACKGROUND, BOTH)


@dataclass(frozen=True, eq=False)
class WrongOnes:
    """rows: of wrong detections in the table. kind: (n,) position in `_KINDS`. target: the truth to mend it to, or -1."""

    rows: np.ndarray
    kind: np.ndarray
    target: np.ndarray

    def of(self, key: str) -> np.ndarray:
        """(n,) bool."""
        return self.kind == _KINDS.index(key)


def wrong_ones(tables: Tables) -> WrongOnes:
    """Why each wrong detection that COCO counts is wrong, whatever its score."""
    matched, pairs = tables.matched, tables.matched.pairs
    single = ~tables.truths.crowd[pairs.b]
    same = tables.found.label[pairs.a] == tables.truths.label[pairs.b]
    own, own_truth = _best(tables, single & same)
    other, other_truth = _best(tables, single & ~same)
    rows = np.flatnonzero(matched.wrong)
    own, other = own[rows], other[rows]
    conditions = [
        (own >= NEAR) & (own < IOU),
        other >= IOU,
        own >= IOU,
        np.maximum(own, other) < NEAR,
    ]
    kind = np.select(conditions, range(len(conditions)), default=_KINDS.index(BOTH))
    target = np.select(conditions[:2], [own_truth[rows], other_truth[rows]], default=-1)
    return WrongOnes(rows, kind, target)


def _best(tables: Tables, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(detections,) the largest IoU of the chosen pairs, and the truth that it is with, -1 for none."""
    pairs = tables.matched.pairs.select(chosen)
    best, truth = np.zeros(len(tables.found.score)), np.full(len(tables.found.score), -1)
    order = np.argsort(pairs.iou, kind="stable")
    # The last of a detection's pairs, by rising IoU, is what stays.
    best[pairs.a[order]], truth[pairs.a[order]] = pairs.iou[order], pairs.b[order]
    return best, truth


def missed_ones(tables: Tables, wrong: WrongOnes, score: float) -> np.ndarray:
    """(truths,) bool: not found by detections of at least `score`, and not explained by a wrong class or place of these."""
    by = tables.matched.finder(len(tables.truths.image), tables.found.score, score)
    missed = (by < 0) & ~tables.truths.crowd
    explained = (tables.found.score[wrong.rows] >= score) & (wrong.target >= 0)
    missed[wrong.target[explained]] = False
    return missed


def error_kinds(tables: Tables, score: float) -> tuple[float | None, list[ErrorKind]]:
    """(AP50, the six kinds)."""
    wrong = wrong_ones(tables)
    certain = tables.found.score[wrong.rows] >= score
    ap50 = _ap50(tables, tables.found.label, np.where(tables.matched.right, RIGHT, WRONG), tables.matched.wrong)
    kinds = []
    for key, title in TITLES.items():
        if key == MISSED:
            own, all_own = missed_ones(tables, wrong, score), missed_ones(tables, wrong, -np.inf)
            rows = np.flatnonzero(own)
            rows = rows[np.argsort(-tables.truths.area[rows], kind="stable")]
            labels, images, count = tables.truths.label[rows], tables.truths.image[rows], int(all_own.sum())
            mended = _without_missed(tables, all_own)
        else:
            rows = wrong.rows[wrong.of(key) & certain]
            rows = rows[np.argsort(-tables.found.score[rows], kind="stable")]
            labels, images, count = tables.found.label[rows], tables.found.image[rows], int(wrong.of(key).sum())
            mended = _mended(tables, wrong, key)
        delta = None if mended is None or ap50 is None else mended - ap50
        shown = [tables.records[i].im_id for i in dict.fromkeys(images.tolist())][:IMAGES]
        kinds.append(ErrorKind(key, title, DEFINITIONS[key], len(rows), count, delta, by_class(labels), shown))
    return ap50, kinds


def by_class(labels: np.ndarray) -> dict[str, int]:
    """How many there are of each label that there are some of."""
    values, counts = np.unique(labels, return_counts=True)
    return {str(label): int(count) for label, count in zip(values, counts)}


def _mended(tables: Tables, wrong: WrongOnes, key: str) -> float | None:
    """AP50 if the detections of a kind were mended."""
    label, matched = tables.found.label.copy(), tables.matched
    verdict, stays = np.where(matched.right, RIGHT, WRONG), matched.wrong.copy()
    own = wrong.of(key)
    stays[wrong.rows[own]] = False
    if key in (LOCALISATION, CLASSIFICATION):
        rows, targets = wrong.rows[own], wrong.target[own]
        free = matched.finder(len(tables.truths.image), tables.found.score, -np.inf) < 0
        # Of several for one object the surest gets it.
        order = np.argsort(-tables.found.score[rows], kind="stable")
        targets, first = np.unique(targets[order], return_index=True)
        winners, targets = rows[order][first][free[targets]], targets[free[targets]]
        stays[winners], verdict[winners], label[winners] = True, RIGHT, tables.truths.label[targets]
    return _ap50(tables, label, verdict, stays)


def _ap50(tables: Tables, label: np.ndarray, verdict: np.ndarray, stays: np.ndarray) -> float | None:
    """The mean over classes. stays: (detections,) bool, which count beside those that are right."""
    counts, instances, values = stays | tables.matched.right, tables.instances(), []
    for k in range(tables.classes):
        own = np.flatnonzero(counts & (label == k))
        values.append(average_precision(tables.found.score[own], verdict[None, own], int(instances[k])).ap50)
    return mean_of(values)


def _without_missed(tables: Tables, missed: np.ndarray) -> float | None:
    matched, values = tables.matched, []
    counts = matched.right | matched.wrong
    left = np.bincount(tables.truths.label[~tables.truths.crowd & ~missed], minlength=tables.classes)
    for k, instances in enumerate(tables.instances().tolist()):
        own = np.flatnonzero(counts & (tables.found.label == k))
        verdict = np.where(matched.right[own], RIGHT, WRONG)[None]
        # Where all were missed, nothing is left to be found.
        there = 1.0 if instances and not left[k] else average_precision(tables.found.score[own], verdict, int(left[k])).ap50
        values.append(there)
    return mean_of(values)
