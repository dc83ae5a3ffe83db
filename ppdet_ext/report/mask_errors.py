"""What goes wrong with masks alone: right box but wrong mask, two objects drawn as one, one drawn as several."""

from __future__ import annotations

import numpy as np

from .errors import IMAGES, by_class
from .pairs import BOXES, MASKS, among
from .schema import ErrorKind
from .tables import IOU, Tables

BOX_RIGHT, INSIDE, APART, COVERS, ALONE = 0.75, 0.5, 0.1, 0.15, 0.75
TITLES = {"box_right_mask_wrong": "Box right, mask wrong", "merged": "Merged", "split": "Split"}
DEFINITIONS = {
    "box_right_mask_wrong": "A wrong detection whose box has an IoU of .75 or more with that of an object of its class, and "
    "whose mask has one of less than .5.",
    "merged": "A detection that covers half or more of two or more objects of its class, of which at least one is not found.",
    "split": "An object in which two or more detections of its class lie with half or more of their area, each covering 15 % "
    "of it or more, apart from each other (IoU below .1), and none of which has an IoU of .75 with it.",
}


def mask_kinds(tables: Tables, score: float) -> list[ErrorKind]:
    """The three kinds; none of boxes without masks. Each is counted at the score, and of all detections that COCO counts."""
    if tables.primary != MASKS:
        return []
    shared = _shared(tables)
    kinds = []
    for key, rows_at in (("box_right_mask_wrong", _box_right), ("merged", _merged), ("split", _split)):
        labels, images = rows_at(tables, shared, score)
        everything = len(rows_at(tables, shared, -np.inf)[0])
        shown = [tables.records[i].im_id for i in dict.fromkeys(images.tolist())][:IMAGES]
        kinds.append(ErrorKind(key, TITLES[key], DEFINITIONS[key], len(labels), everything, None, by_class(labels), shown))
    return kinds


def _shared(tables: Tables) -> np.ndarray:
    """(pairs,) pixels that both masks have, of pairs of one class without crowds; 0 of others."""
    pairs, found, truths = tables.matched.pairs, tables.found, tables.truths
    # IoU = shared / (a + b - shared)
    shared = pairs.iou * (found.area[pairs.a] + truths.area[pairs.b]) / (1 + pairs.iou)
    counts = (found.label[pairs.a] == truths.label[pairs.b]) & ~truths.crowd[pairs.b] & tables.matched.counted[pairs.a]
    return np.where(counts, shared, 0.0)


def _box_right(tables: Tables, shared: np.ndarray, score: float) -> tuple[np.ndarray, np.ndarray]:
    """(label, image) of each."""
    found, truths, masks, boxes = tables.found, tables.truths, tables.matched.pairs, tables.kinds[BOXES].pairs
    near = boxes.select((boxes.iou >= BOX_RIGHT) & (found.label[boxes.a] == truths.label[boxes.b]) & ~truths.crowd[boxes.b])
    size = max(len(truths.image), 1)
    drawn = masks.a[masks.iou >= IOU] * size + masks.b[masks.iou >= IOU]
    wrong = near.a[~np.isin(near.a * size + near.b, drawn)]
    rows = np.unique(wrong[tables.matched.wrong[wrong] & (found.score[wrong] >= score)])
    return found.label[rows], found.image[rows]


def _merged(tables: Tables, shared: np.ndarray, score: float) -> tuple[np.ndarray, np.ndarray]:
    found, truths, pairs = tables.found, tables.truths, tables.matched.pairs
    covers = (shared >= INSIDE * truths.area[pairs.b]) & (shared > 0) & (found.score[pairs.a] >= score)
    missed = tables.matched.finder(len(truths.image), found.score, score) < 0
    covered = np.bincount(pairs.a[covers], minlength=len(found.score))
    lost = np.bincount(pairs.a[covers], missed[pairs.b[covers]], minlength=len(found.score))
    rows = np.flatnonzero((covered >= 2) & (lost >= 1))
    return found.label[rows], found.image[rows]


def _split(tables: Tables, shared: np.ndarray, score: float) -> tuple[np.ndarray, np.ndarray]:
    found, truths, pairs = tables.found, tables.truths, tables.matched.pairs
    inside = (shared >= INSIDE * found.area[pairs.a]) & (shared >= COVERS * truths.area[pairs.b]) & (shared > 0)
    inside &= found.score[pairs.a] >= score
    alone = np.zeros(len(truths.image), bool)
    alone[pairs.b[(pairs.iou >= ALONE) & (shared > 0) & (found.score[pairs.a] >= score)]] = True
    parts = np.bincount(pairs.b[inside], minlength=len(truths.image))
    candidates = np.flatnonzero((parts >= 2) & ~alone)
    chosen = pairs.select(inside & np.isin(pairs.b, candidates))
    rows = [truth for truth in candidates.tolist() if _apart(tables, chosen.a[chosen.b == truth])]
    return truths.label[rows], truths.image[rows]


def _apart(tables: Tables, rows: np.ndarray) -> bool:
    """Whether two of the detections lie apart."""
    own = tables.detections[int(tables.found.image[rows[0]])].masks or []
    pairs = among([own[place] for place in tables.found.place[rows]])
    return int((pairs.iou >= APART).sum()) < len(rows) * (len(rows) - 1) // 2
