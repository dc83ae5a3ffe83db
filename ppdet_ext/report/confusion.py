"""Which class is taken for which, and for the background."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from ppdet_ext.evaluation.coco_mask_ap import IN_CROWD, UNMATCHED

from .schema import Confusion, ConfusionCell
from .tables import IOU, Tables

CELLS, IMAGES = 60, 5


def match_across_classes(tables: Tables, score: float) -> np.ndarray:
    """(detections,) the truth that each takes, whatever its class; UNMATCHED, IN_CROWD, or below the score -3.

    The surest of an image come first; each takes the free truth of the highest IoU, from .5 on, of equals one of its own class.
    """
    found, truths, pairs = tables.found, tables.truths, tables.matched.pairs
    taken = np.where(found.score >= score, UNMATCHED, -3)
    near = pairs.select((pairs.iou >= IOU) & (found.score[pairs.a] >= score))
    crowd = truths.crowd[near.b]
    same = found.label[near.a] == truths.label[near.b]
    free = np.ones(len(truths.image), bool)
    # Rows are images by id, in each by falling score; within a row the best overlap first, crowds last.
    for i in np.lexsort((~same, -near.iou, crowd, near.a)).tolist():
        a, b = near.a[i], near.b[i]
        if taken[a] != UNMATCHED:
            continue
        if crowd[i]:
            # A crowd forgives its own class alone, as in COCO.
            taken[a] = IN_CROWD if same[i] else UNMATCHED
        elif free[b]:
            taken[a], free[b] = b, False
    return taken


def confusion(tables: Tables, score: float) -> Confusion:
    """The matrix at a score, and its largest entries beside the diagonal with images to look at."""
    found, truths, nothing = tables.found, tables.truths, tables.classes
    taken = match_across_classes(tables, score)
    hit, false = np.flatnonzero(taken >= 0), np.flatnonzero(taken == UNMATCHED)
    missed = np.setdiff1d(np.flatnonzero(~truths.crowd), taken[hit])
    rows = np.concatenate([truths.label[taken[hit]], np.full(len(false), nothing), truths.label[missed]])
    columns = np.concatenate([found.label[hit], found.label[false], np.full(len(missed), nothing)])
    images = np.concatenate([found.image[hit], found.image[false], truths.image[missed]])
    matrix = np.zeros((nothing + 1, nothing + 1), np.int64)
    np.add.at(matrix, (rows, columns), 1)
    return Confusion(tables.primary, matrix.tolist(), _cells(tables, rows, columns, images, matrix))


def _cells(
    tables: Tables, rows: np.ndarray, columns: np.ndarray, images: np.ndarray, matrix: np.ndarray
) -> list[ConfusionCell]:
    seen: dict[tuple[int, int], list[int]] = defaultdict(list)
    for row, column, image in zip(rows.tolist(), columns.tolist(), images.tolist()):
        own = seen[row, column]
        if row != column and len(own) < IMAGES and image not in own:
            own.append(image)
    beside = [key for key in seen if key[0] != key[1]]
    beside.sort(key=lambda key: (-matrix[key], key))
    nothing = tables.classes

    def label(place: int) -> int | None:
        return None if place == nothing else place

    return [
        ConfusionCell(label(row), label(column), int(matrix[row, column]), [tables.records[i].im_id for i in seen[row, column]])
        for row, column in beside[:CELLS]
    ]
