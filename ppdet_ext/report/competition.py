"""What a competition's metric gives, and what it is that costs points."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppdet_ext.evaluation.imaterialist import IMaterialistMAP
from ppdet_ext.evaluation.metric import NOWHERE, Metric, PartialMetric
from ppdet_ext.evaluation.pixel_metrics import SeverstalDice

from .pairs import MASKS
from .schema import Competition, Loss
from .tables import Tables

FALSE, MISSED, DRAWN = "false_positive", "missed", "drawn"
TITLES = {
    FALSE: "Something was found where nothing is annotated",
    MISSED: "Nothing was found where something is annotated",
    DRAWN: "Found, but not exactly as annotated",
}
ADVICE = {
    FALSE: "Most is lost by finding a class in images that have none of it: a higher score or area threshold of that class "
    "(tools/tune.py) or a classifier of whole images (ClassifierGate) helps.",
    MISSED: "Most is lost by images in which a class was not found at all: lower thresholds (tools/tune.py) help, or more "
    "training.",
    DRAWN: "Most is lost by how exactly objects are drawn: larger pictures, test-time augmentation or an ensemble help.",
}
# Of an image and class: scores of what counts, whether it is annotated, whether something was found.
_Pair = tuple[tuple[float, ...], bool, bool]


def competitions(tables: Tables, metrics: Sequence[Metric], score: float) -> list[Competition]:
    """Of those of the configured metrics that are a competition's, `SeverstalDice` and `IMaterialistMAP`."""
    if tables.primary != MASKS or not tables.records:
        return []
    return [_competition(tables, metric, score) for metric in metrics if isinstance(metric, (SeverstalDice, IMaterialistMAP))]


def _competition(tables: Tables, metric: PartialMetric, score: float) -> Competition:
    metric.start(tables.records, tables.class_names, list(range(tables.classes)))
    everything: list[list] = []
    certain: list[list] = []
    nothing: list[list] = []
    pairs: list[list[_Pair]] = []
    for record, found in zip(tables.records, tables.detections):
        order = np.argsort(-found.scores, kind="stable")
        rows: list[list] = [[], [], [], []]
        for label in range(tables.classes):
            own = order[found.labels[order] == label]
            prepared = metric.prepare(record.of_class(label), [(found.masks or [])[i] for i in own])
            scores = found.scores[own]
            chosen = np.flatnonzero(scores.astype(np.float64) >= score)
            for row, some in zip(rows, (np.arange(len(own)), chosen, chosen[:0])):
                row.append(metric.partial(prepared, scores, some))
            pairs_of = _scores(metric, rows[1][-1])
            rows[3].append((pairs_of, bool((record.labels == label).any()), len(chosen) > 0))
        for whole, row in zip((everything, certain, nothing, pairs), rows):
            whole.append(row)
    total, *by_class = next(iter(metric.combine(certain).values()))
    values = [float(next(iter(metric.combine(part).values()))[0]) for part in (everything, nothing)]
    losses = _losses(metric, pairs)
    advice = ADVICE[max(losses, key=lambda loss: loss.lost).key] if any(loss.lost for loss in losses) else ""
    classes = [None if value == NOWHERE else float(value) for value in by_class]
    return Competition(type(metric).__name__, values[0], float(total), values[1], classes, losses, advice)


def _scores(metric: PartialMetric, partial: tuple) -> tuple[float, ...]:
    """What an image and class contribute to the mean: of Dice one number, of iMaterialist one for each class id that counts."""
    if not isinstance(metric, SeverstalDice):
        return tuple(partial)
    shared, annotated, predicted = partial
    return (2 * shared / (annotated + predicted) if annotated + predicted else 1.0,)


def _losses(metric: PartialMetric, pairs: list[list[_Pair]]) -> list[Loss]:
    """What each kind of pair costs; together 1 less the score."""
    number = sum(len(scores) for row in pairs for scores, _, _ in row)
    by_image = isinstance(metric, IMaterialistMAP) and metric.average == "image"
    counts, lost = dict.fromkeys(TITLES, 0), dict.fromkeys(TITLES, 0.0)
    for row in pairs:
        own = sum(len(scores) for scores, _, _ in row)
        weight = 1 / (len(pairs) * own) if by_image and own else 1 / max(number, 1)
        for scores, annotated, found in row:
            key = DRAWN if annotated and found else MISSED if annotated else FALSE
            missing = sum(1 - one for one in scores)
            counts[key] += int(missing > 0)
            lost[key] += weight * missing
    return [Loss(key, title, counts[key], float(lost[key])) for key, title in TITLES.items()]
