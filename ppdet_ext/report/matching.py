"""What is right, wrong and missed in one image, as COCOeval decides it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ppdet_ext.evaluation.coco_mask_ap import IN_CROWD, MOST, THRESHOLDS, UNMATCHED, matches
from ppdet_ext.structures import Detections, Record

from .pairs import BOXES, MASKS, Pairs, overlaps

LEFT_OUT = -3  # beside a truth's position, UNMATCHED and IN_CROWD: beyond the best 100 of its class in the image


@dataclass(frozen=True, eq=False)
class ImageMatches:
    """Detections of an image against its annotations, at COCO's ten thresholds; for masks or boxes.

    order: (d,) positions in the `Detections`, by falling score; everything else about detections is in this order.
    pairs: overlaps of detections (a) and truths (b), of any classes.
    taken: (10, d) int32, the truth that each detection is matched with, UNMATCHED, IN_CROWD or LEFT_OUT.
    """

    order: np.ndarray
    pairs: Pairs
    taken: np.ndarray

    def found(self, truths: int, counts: np.ndarray, threshold: int = 0) -> np.ndarray:
        """(truths,) which detection has each truth, among those that count ((d,) bool), -1 for none."""
        by = np.full(truths, -1, np.int64)
        rows = np.flatnonzero(counts & (self.taken[threshold] >= 0))
        by[self.taken[threshold, rows]] = rows
        return by


def match_image(record: Record, detections: Detections, kind: str | None = None) -> ImageMatches:
    """Match the detections of an image. A higher lowest score changes nothing for those that are left.

    kind: "segm" or "bbox"; None: masks where both sides have them.
    """
    kind = kind or kind_of(record, detections)
    order = np.argsort(-detections.scores.astype(np.float64), kind="stable")
    ranked = detections.select(order)
    pairs = overlaps(record, ranked, kind)
    taken = np.full((len(THRESHOLDS), len(order)), UNMATCHED, np.int32)
    counts = np.bincount(ranked.labels)
    for label in np.flatnonzero(counts > MOST).tolist():
        taken[:, np.flatnonzero(ranked.labels == label)[MOST:]] = LEFT_OUT
    # Everything else of a class is UNMATCHED.
    near = pairs.select(pairs.iou >= THRESHOLDS[0])
    near = near.select(ranked.labels[near.a] == record.labels[near.b])
    for label in np.unique(ranked.labels[near.a]).tolist():
        own = np.flatnonzero(ranked.labels == label)[:MOST]
        _match_class(record, near.select(np.isin(near.a, own)), own, label, taken)
    return ImageMatches(order, pairs, taken)


def kind_of(record: Record, detections: Detections) -> str:
    """Masks, unless one side has boxes alone."""
    return MASKS if detections.masks is not None and len(record.masks) == len(record.labels) else BOXES


def _match_class(record: Record, near: Pairs, own: np.ndarray, label: int, taken: np.ndarray) -> None:
    """Fill in what the detections `own` of a class take; near: their pairs with its truths."""
    truths = np.flatnonzero(record.labels == label)
    # Crowds last, as `matches` wants them.
    truths = truths[np.argsort(record.crowd[truths], kind="stable")]
    column = np.full(len(record.labels), -1)
    column[truths] = np.arange(len(truths))
    iou = np.zeros((len(own), len(truths)))
    iou[np.searchsorted(own, near.a), column[near.b]] = near.iou
    columns = matches(iou, int((~record.crowd[truths]).sum()))
    taken[:, own] = np.where(columns >= 0, truths[np.maximum(columns, 0)], columns)


@dataclass(frozen=True, eq=False)
class Verdicts:
    """What became of each object of an image at one score and IoU .5.

    found: (detections,) of "tp", "fp", "ignored", or "" below the score, in the order of the `Detections`.
    truths: (annotations,) of "tp", "fn", "crowd".
    iou: (detections,) largest IoU with what it is matched with, else with any truth.
    """

    found: list[str]
    truths: list[str]
    iou: list[float]

    @property
    def counts(self) -> tuple[int, int, int]:
        """Right, wrong, missed."""
        return self.found.count("tp"), self.found.count("fp"), self.truths.count("fn")

    @property
    def f1(self) -> float:
        """2·right / (2·right + wrong + missed); 1 where there is nothing to find and nothing is found."""
        right, wrong, missed = self.counts
        return 2 * right / (2 * right + wrong + missed) if right + wrong + missed else 1.0


def verdicts(record: Record, detections: Detections, score: float = 0.0, own: ImageMatches | None = None) -> Verdicts:
    """What is right, wrong and missed of the detections of at least `score`. own: their matches, where they are known."""
    own = own or match_image(record, detections)
    counts = detections.scores[own.order].astype(np.float64) >= score
    best = np.zeros(len(counts))
    np.maximum.at(best, own.pairs.a, own.pairs.iou)
    found, iou = [""] * len(counts), [0.0] * len(counts)
    for rank, place in enumerate(own.order.tolist()):
        taken = int(own.taken[0, rank])
        matched = own.pairs.iou[(own.pairs.a == rank) & (own.pairs.b == taken)] if taken >= 0 else best[rank : rank + 1]
        iou[place] = float(matched[0])
        if counts[rank]:
            found[place] = "tp" if taken >= 0 else "fp" if taken == UNMATCHED else "ignored"
    by = own.found(len(record.labels), counts)
    truths = ["crowd" if crowd else "fn" if one < 0 else "tp" for crowd, one in zip(record.crowd.tolist(), by.tolist())]
    return Verdicts(found, truths, iou)


__all__ = ["IN_CROWD", "LEFT_OUT", "UNMATCHED", "ImageMatches", "Verdicts", "kind_of", "match_image", "verdicts"]
