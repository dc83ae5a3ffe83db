"""COCO's mask AP put together from images and classes, so that thresholds can be searched for it."""

from typing import NamedTuple

import numpy as np

from ppdet_ext.host.registry import register_metric
from ppdet_ext.structures import Record, Rle

from .metric import NOWHERE, PartialMetric

THRESHOLDS = np.linspace(0.5, 0.95, 10)  # pycocotools' own, to the last bit
RECALLS = np.linspace(0, 1, 101)
MOST = 100  # detections of an image and class
RIGHT, WRONG, IGNORED = 1, 0, -1
UNMATCHED, IN_CROWD = -1, -2  # beside an instance's position


class Overlaps(NamedTuple):
    """IoU (predicted, annotated), crowds in the last columns; how many are no crowds; the image's id."""

    iou: np.ndarray
    singles: int
    im_id: int


class Matches(NamedTuple):
    """Scores (n,) of the predictions that count, falling; verdicts (10, n) int8; annotated instances; the image's id."""

    scores: np.ndarray
    verdicts: np.ndarray
    instances: int
    im_id: int


@register_metric
class CocoMaskAP(PartialMetric):
    """AP of masks at IoU .5:.95 over all sizes, 100 detections an image and class: the first of `CocoMetric`'s mask numbers.

    What is found in a crowd counts neither way. Equal to pycocotools' COCOeval, whose matching and interpolation it follows.
    """

    def prepare(self, truth: Record, masks: list[Rle]) -> Overlaps:
        order = np.argsort(truth.crowd, kind="stable")
        crowd = truth.crowd[order]
        iou = Rle.iou_matrix(masks, [truth.masks[i] for i in order], crowd.tolist())
        return Overlaps(iou, int((~crowd).sum()), truth.im_id)

    def partial(self, prepared: Overlaps, scores: np.ndarray, chosen: np.ndarray) -> Matches:
        chosen = chosen[:MOST]
        verdicts = _verdicts(prepared.iou[chosen], prepared.singles)
        return Matches(np.asarray(scores)[chosen], verdicts, prepared.singles, prepared.im_id)

    def combine(self, partials: list[list[Matches]]) -> dict[str, list[float]]:
        """{"CocoMaskAP": [AP, AP of each class, …], "CocoMaskAP50": …, "CocoMaskAP75": …}; -1 without instances."""
        # pycocotools goes through images by id, which decides ties in score.
        ordered = sorted(partials, key=lambda row: row[0].im_id)
        curves = [_precision([row[k] for row in ordered]) for k in range(len(partials[0]))]
        parts = {"CocoMaskAP": slice(None), "CocoMaskAP50": slice(0, 1), "CocoMaskAP75": slice(5, 6)}
        numbers = {}
        for name, part in parts.items():
            classes = [NOWHERE if curve is None else float(curve[part].mean()) for curve in curves]
            there = [value for value in classes if value != NOWHERE]
            numbers[name] = [float(np.mean(there)) if there else NOWHERE, *classes]
        return numbers


def _verdicts(iou: np.ndarray, singles: int) -> np.ndarray:
    """(10, n) int8 for predictions by falling score: right, wrong, or in a crowd."""
    taken = matches(iou, singles)
    return np.where(taken >= 0, RIGHT, np.where(taken == IN_CROWD, IGNORED, WRONG)).astype(np.int8)


def matches(iou: np.ndarray, singles: int) -> np.ndarray:
    """What predictions (n, annotated), by falling score, take at each of the ten thresholds, as COCOeval.evaluateImg.

    Each takes the free instance it overlaps most, or else a crowd; crowds are the columns from `singles` on.

    Returns: (10, n) int32, the column of an instance, `UNMATCHED` or `IN_CROWD`.
    """
    taken = np.full((len(THRESHOLDS), len(iou)), UNMATCHED, np.int32)
    free = np.ones((len(THRESHOLDS), singles), bool)
    limits = np.minimum(THRESHOLDS, 1 - 1e-10)
    rows = np.arange(len(THRESHOLDS))
    for i in np.flatnonzero((iou >= limits[0]).any(axis=1)):
        if singles:
            near = np.where(free, iou[i, :singles], -1.0)
            best = singles - 1 - near[:, ::-1].argmax(axis=1)  # of equals the last, as pycocotools
            hit = near[rows, best] >= limits
            free[rows[hit], best[hit]] = False
            taken[hit, i] = best[hit]
        crowd = iou[i, singles:].max(initial=-1.0) >= limits
        taken[crowd & (taken[:, i] == UNMATCHED), i] = IN_CROWD
    return taken


def _precision(partials: list[Matches]) -> np.ndarray | None:
    """Interpolated precision (10, 101) of one class, None without instances. As COCOeval.accumulate."""
    instances = sum(partial.instances for partial in partials)
    if not instances:
        return None
    matched = [partial for partial in partials if len(partial.scores)]
    if not matched:
        return np.zeros((len(THRESHOLDS), len(RECALLS)))
    scores = np.concatenate([partial.scores for partial in matched])
    return interpolated(scores, np.concatenate([partial.verdicts for partial in matched], axis=1), instances)


def interpolated(scores: np.ndarray, verdicts: np.ndarray, instances: int) -> np.ndarray:
    """Precision (thresholds, 101) at `RECALLS`, the highest at that recall or a greater one. As COCOeval.accumulate.

    Args:
        scores: (n,) of one class, images by rising id; of equals the first comes first.
        verdicts: (thresholds, n) of `RIGHT`, `WRONG`, `IGNORED`.
        instances: annotated ones, 1 or more.
    """
    verdicts = verdicts[:, np.argsort(-scores, kind="stable")]
    right = np.cumsum(verdicts == RIGHT, axis=1)
    wrong = np.cumsum(verdicts == WRONG, axis=1)
    precision = right / (right + wrong + np.spacing(1))
    precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    padded = np.concatenate([precision, np.zeros((len(verdicts), 1))], axis=1)
    places = [np.searchsorted(recall, RECALLS, side="left") for recall in right / instances]
    return np.take_along_axis(padded, np.array(places), axis=1)
