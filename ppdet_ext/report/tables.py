"""All objects of a data set as flat arrays, with their matches: what the sections of a report are computed from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ppdet_ext.distributed.progress import track
from ppdet_ext.evaluation.coco_mask_ap import IGNORED, RIGHT, THRESHOLDS, UNMATCHED, WRONG
from ppdet_ext.structures import Detections, Record

from .matching import LEFT_OUT, ImageMatches, match_image
from .pairs import BOXES, MASKS, Pairs

IOU = 0.5
_MANY = 1000  # images, from which on matching takes seconds


@dataclass(frozen=True, eq=False)
class Truths:
    """All annotated objects. image, place (in its record), label, crowd, box (n, 4), area in px of the masks, else of boxes."""

    image: np.ndarray
    place: np.ndarray
    label: np.ndarray
    crowd: np.ndarray
    box: np.ndarray
    area: np.ndarray


@dataclass(frozen=True, eq=False)
class Found:
    """All detections, images by rising id, in each by falling score. place: in its `Detections`; score: float64."""

    image: np.ndarray
    place: np.ndarray
    label: np.ndarray
    score: np.ndarray
    box: np.ndarray
    area: np.ndarray


@dataclass(frozen=True, eq=False)
class Matched:
    """Of masks or boxes. pairs: of detections (a) and truths (b), rows of the tables. taken: (10, n), as `ImageMatches`."""

    pairs: Pairs
    taken: np.ndarray

    @property
    def counted(self) -> np.ndarray:
        """(detections,) bool: those that COCO counts, the best 100 of a class in an image."""
        return self.taken[0] != LEFT_OUT

    @property
    def right(self) -> np.ndarray:
        """(detections,) bool, at IoU .5."""
        return self.taken[0] >= 0

    @property
    def wrong(self) -> np.ndarray:
        """(detections,) bool, at IoU .5."""
        return self.taken[0] == UNMATCHED

    @property
    def verdicts(self) -> np.ndarray:
        """(10, detections) int8 of RIGHT, WRONG and IGNORED, of those that are counted; others are IGNORED."""
        return np.where(self.taken >= 0, RIGHT, np.where(self.taken == UNMATCHED, WRONG, IGNORED)).astype(np.int8)

    def finder(self, truths: int, score: np.ndarray, lowest: float) -> np.ndarray:
        """(truths,) which detection of at least `lowest` has each truth at IoU .5; -1 for none."""
        by = np.full(truths, -1, np.int64)
        rows = np.flatnonzero(self.right & (score >= lowest))
        by[self.taken[0, rows]] = rows
        return by

    def iou_of_taken(self) -> np.ndarray:
        """(detections,) IoU with the truth that is taken at .5; 0 where none is."""
        iou = np.zeros(self.taken.shape[1])
        own = self.pairs.b == self.taken[0, self.pairs.a]
        iou[self.pairs.a[own]] = self.pairs.iou[own]
        return iou

    def best_iou(self, chosen: np.ndarray | None = None) -> np.ndarray:
        """(detections,) the largest IoU with any truth, of the chosen pairs ((pairs,) bool) alone; 0 for none."""
        pairs = self.pairs if chosen is None else self.pairs.select(chosen)
        best = np.zeros(self.taken.shape[1])
        np.maximum.at(best, pairs.a, pairs.iou)
        return best


@dataclass(frozen=True, eq=False)
class Tables:
    """The data set: records by rising id, what was found in each, and both as tables.

    kinds: matches of "segm" and "bbox", or of "bbox" alone; primary: the first of them, which most sections are of.
    """

    records: list[Record]
    detections: list[Detections]
    class_names: list[str]
    truths: Truths
    found: Found
    kinds: dict[str, Matched] = field(default_factory=dict)

    @property
    def primary(self) -> str:
        return next(iter(self.kinds))

    @property
    def matched(self) -> Matched:
        return self.kinds[self.primary]

    @property
    def classes(self) -> int:
        return len(self.class_names)

    def instances(self) -> np.ndarray:
        """(classes,) annotated objects, without crowds."""
        return np.bincount(self.truths.label[~self.truths.crowd], minlength=self.classes)


def tables_of(records: Sequence[Record], detections: Mapping[int, Detections], class_names: Sequence[str]) -> Tables:
    """Match all images; those without an entry in `detections` are images in which nothing was found."""
    ordered = sorted(records, key=lambda record: record.im_id)
    masks = all(len(one.masks) == len(one.labels) for one in ordered)
    masks &= all(one.masks is not None for one in detections.values())
    found = [detections.get(one.im_id) or Detections.empty(one.height, one.width, masks) for one in ordered]
    kinds = (MASKS, BOXES) if masks else (BOXES,)
    images = list(zip(ordered, found))
    shown = track(images, len(images), "Matching") if len(images) >= _MANY else images
    matched = [[match_image(record, own, kind) for kind in kinds] for record, own in shown]
    orders = [own[0].order for own in matched]
    tables = Tables(ordered, found, list(class_names), _truths(ordered, masks), _found(found, orders, masks))
    first_found, first_truth = _firsts(map(len, found)), _firsts(len(one.labels) for one in ordered)
    for place, kind in enumerate(kinds):
        tables.kinds[kind] = _joined([own[place] for own in matched], first_found, first_truth)
    return tables


def _truths(records: Sequence[Record], masks: bool) -> Truths:
    box = _stacked([one.boxes for one in records], 4)
    area = [float(mask.area) for one in records for mask in one.masks] if masks else _sides(box).prod(axis=1)
    return Truths(
        image=np.repeat(np.arange(len(records)), [len(one.labels) for one in records]),
        place=_places([len(one.labels) for one in records]),
        label=_joined_ints([one.labels for one in records]),
        crowd=_joined_ints([one.crowd for one in records]).astype(bool),
        box=box,
        area=np.asarray(area, np.float64),
    )


def _found(detections: Sequence[Detections], orders: Sequence[np.ndarray], masks: bool) -> Found:
    images = list(zip(detections, orders))
    box = _stacked([one.boxes[order] for one, order in images], 4)
    area = [float((one.masks or [])[i].area) for one, order in images for i in order] if masks else _sides(box).prod(axis=1)
    scores = [one.scores[order].astype(np.float64) for one, order in images]
    return Found(
        image=np.repeat(np.arange(len(detections)), [len(one) for one in detections]),
        place=_joined_ints(list(orders)),
        label=_joined_ints([one.labels[order] for one, order in images]),
        score=np.concatenate([np.zeros(0), *scores]),
        box=box,
        area=np.asarray(area, np.float64),
    )


def _joined(images: Sequence[ImageMatches], first_found: np.ndarray, first_truth: np.ndarray) -> Matched:
    """The matches of all images, by rows of the tables in place of positions in the image."""
    starts = list(zip(images, first_found, first_truth))
    taken = [np.where(own.taken >= 0, own.taken + truth, own.taken) for own, _, truth in starts]
    pairs = Pairs(
        _joined_ints([own.pairs.a + found for own, found, _ in starts]),
        _joined_ints([own.pairs.b + truth for own, _, truth in starts]),
        np.concatenate([np.zeros(0), *(own.pairs.iou for own in images)]),
    )
    none = np.zeros((len(THRESHOLDS), 0), np.int64)
    return Matched(pairs, np.concatenate([none, *taken], axis=1))


def _firsts(counts: Iterable[int]) -> np.ndarray:
    """Row at which each image begins."""
    return np.concatenate([[0], np.cumsum(np.array(list(counts), np.int64))])[:-1].astype(np.int64)


def _places(counts: Sequence[int]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *(np.arange(count) for count in counts)])


def _joined_ints(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0, np.int64), *(np.asarray(part, np.int64) for part in parts)])


def _stacked(parts: Sequence[np.ndarray], columns: int) -> np.ndarray:
    return np.concatenate([np.zeros((0, columns)), *(np.asarray(part, np.float64).reshape(-1, columns) for part in parts)])


def _sides(box: np.ndarray) -> np.ndarray:
    """Width and height (n, 2)."""
    return box[:, 2:] - box[:, :2]
