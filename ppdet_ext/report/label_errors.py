"""Annotations that are likely wrong, by what a model finds there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .errors import NEAR
from .pairs import MASKS, among
from .schema_objects import LabelError, LabelErrors
from .tables import IOU, Tables

SURE, VERY_SURE, BADLY, SAME = 0.5, 0.8, 0.6, 0.8
MOST = 200  # entries of a kind
TITLES = {
    "missing": "Missing annotation",
    "wrong_class": "Annotated with another class",
    "badly_drawn": "Badly drawn",
    "duplicate": "Annotated twice",
}
DEFINITIONS = {
    "missing": f"A detection of score {SURE} or more with an IoU of less than {NEAR} with every annotation.",
    "wrong_class": f"A detection of score {SURE} or more with an IoU of {IOU} or more with an annotation of another class, and "
    "with none of its own; the annotation is found by no surer detection of its class.",
    "badly_drawn": f"A right detection of score {VERY_SURE} or more whose IoU with its annotation is below {BADLY}.",
    "duplicate": f"Two annotations of one image with an IoU of {SAME} or more.",
}
CAUTION = (
    "Candidates to look at, no verdicts. A model that was trained on these images has learnt their faults and cannot show "
    "them: use images that were held out, or the folds of tools/kfold.py."
)


@dataclass(frozen=True)
class Candidate:
    """A likely fault. row: of the detection, -1 of a duplicate; truth, other: rows of the truths, -1 for none."""

    kind: str
    row: int
    truth: int
    other: int
    iou: float
    likelihood: float


def candidates(tables: Tables) -> list[Candidate]:
    """All of them, each kind by falling likelihood."""
    found = [*_missing(tables), *_wrong_class(tables), *_badly_drawn(tables), *_duplicates(tables)]
    place = list(TITLES)
    return sorted(found, key=lambda one: (place.index(one.kind), -one.likelihood, one.row, one.truth))


def label_errors(tables: Tables, found: list[Candidate]) -> LabelErrors:
    """What the report says of them."""
    counts = {kind: sum(one.kind == kind for one in found) for kind in TITLES}
    entries = [one for kind in TITLES for one in [own for own in found if own.kind == kind][:MOST]]
    return LabelErrors(counts, dict(DEFINITIONS), [_entry(tables, one) for one in entries], CAUTION)


def _missing(tables: Tables) -> list[Candidate]:
    best, score = tables.matched.best_iou(), tables.found.score
    rows = np.flatnonzero((score >= SURE) & (best < NEAR) & tables.matched.wrong)
    return [Candidate("missing", int(i), -1, -1, float(best[i]), float(score[i])) for i in rows]


def _wrong_class(tables: Tables) -> list[Candidate]:
    found, truths, pairs = tables.found, tables.truths, tables.matched.pairs
    same = found.label[pairs.a] == truths.label[pairs.b]
    own = tables.matched.best_iou(same)
    by = tables.matched.finder(len(truths.image), found.score, -np.inf)
    rival = np.where(by >= 0, found.score[np.maximum(by, 0)] if len(found.score) else -1.0, -1.0)
    chosen = ~same & (pairs.iou >= IOU) & ~truths.crowd[pairs.b]
    chosen &= (found.score[pairs.a] >= SURE) & (own[pairs.a] < IOU) & (found.score[pairs.a] > rival[pairs.b])
    # Each annotation once, with the surest.
    order = np.flatnonzero(chosen)[np.argsort(-found.score[pairs.a[chosen]], kind="stable")]
    _, first = np.unique(pairs.b[order], return_index=True)
    return [
        Candidate("wrong_class", int(pairs.a[i]), int(pairs.b[i]), -1, float(pairs.iou[i]), float(found.score[pairs.a[i]]))
        for i in order[first]
    ]


def _badly_drawn(tables: Tables) -> list[Candidate]:
    matched, score = tables.matched, tables.found.score
    iou = matched.iou_of_taken()
    rows = np.flatnonzero(matched.right & (score >= VERY_SURE) & (iou < BADLY))
    return [
        Candidate("badly_drawn", int(i), int(matched.taken[0, i]), -1, float(iou[i]), float(score[i] - iou[i])) for i in rows
    ]


def _duplicates(tables: Tables) -> list[Candidate]:
    found, first = [], 0
    for record in tables.records:
        pairs = among(record.masks if tables.primary == MASKS else record.boxes)
        for a, b, iou in zip(pairs.a.tolist(), pairs.b.tolist(), pairs.iou.tolist()):
            if iou >= SAME and not (record.crowd[a] or record.crowd[b]):
                found.append(Candidate("duplicate", -1, first + b, first + a, iou, iou))
        first += len(record.labels)
    return found


def _entry(tables: Tables, one: Candidate) -> LabelError:
    found, truths = tables.found, tables.truths
    kept = found if one.row >= 0 else truths
    row = one.row if one.row >= 0 else one.other
    record = tables.records[int(kept.image[row])]
    return LabelError(
        kind=one.kind,
        image=record.im_id,
        name=record.name,
        label=int(kept.label[row]),
        truth_label=int(truths.label[one.truth]) if one.truth >= 0 else None,
        truth=int(truths.place[one.truth]) if one.truth >= 0 else None,
        other=int(truths.place[one.other]) if one.other >= 0 else None,
        score=float(found.score[one.row]) if one.row >= 0 else None,
        iou=one.iou if one.truth >= 0 or one.iou else None,
        box=kept.box[row].tolist(),
    )
