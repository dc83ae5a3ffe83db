"""Predictions of images by the models that have not seen them: put together, and what each fold's model is worth."""

import copy
import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Record

from .problem import Problem
from .setting import Setting

SHOWN = 5


@dataclass(frozen=True)
class FoldScore:
    """Of one fold, or of all of them (`fold` None): the metric on the images held out of it.

    images: how many they are. configured: with the thresholds of the configuration. tuned: with those found on all folds.
    """

    fold: int | None
    images: int
    configured: float
    tuned: float


def joined(parts: Sequence[Any]) -> Any:
    """One data set of the images that were held out, fold by fold.

    Args:
        parts: the read data set of each fold.

    Raises:
        UserError: a fold without images, or an image that is held out of several.
    """
    empty = [number for number, part in enumerate(parts) if not part.records]
    if empty:
        raise UserError(f"Fold {empty[0]} of {len(parts)} has no images. Take fewer --folds.")
    counts = Counter(record.name for part in parts for record in part.records)
    twice = sorted(name for name, count in counts.items() if count > 1)
    if twice:
        raise UserError(
            f"{len(twice)} images are held out of several folds ({', '.join(twice[:SHOWN])}"
            f"{', …' if len(twice) > SHOWN else ''}). Name each image once in TrainDataset's split file."
        )
    whole = copy.copy(parts[0])
    whole._records = [record for part in parts for record in part.records]
    return whole


def folds_csv(records: Sequence[Record], folds: Sequence[int]) -> str:
    """ImageId,fold of every image, as `split` of a data set takes it."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(("ImageId", "fold"))
    writer.writerows((record.name, fold) for record, fold in zip(records, folds))
    return stream.getvalue()


def fold_scores(problem: Problem, parts: Sequence[Any], chosen: Setting) -> list[FoldScore]:
    """What each fold's model scores on the images held out of it, then all of them together.

    Args:
        problem: of `joined(parts)`.
        parts: the read data set of each fold.
        chosen: thresholds that were found.
    """
    scores, first = [], 0
    for number, part in enumerate(parts):
        own = slice(first, first := first + len(part.records))
        of_fold = replace(problem, records=problem.records[own], candidates=problem.candidates[own])
        scores.append(FoldScore(number, len(part.records), of_fold.value_as_configured(), of_fold.value(chosen)))
    whole = FoldScore(None, len(problem.records), problem.value_as_configured(), problem.value(chosen))
    return [*scores, whole]


def format_scores(name: str, scores: Sequence[FoldScore]) -> str:
    """A table in Markdown, a row a fold."""
    rows = [(f"fold {one.fold}" if one.fold is not None else "all, out of fold", one) for one in scores]
    lines = [f"| {name} | images | as configured | tuned |", "|---|---|---|---|"]
    lines += [f"| {title} | {one.images} | {one.configured:.4f} | {one.tuned:.4f} |" for title, one in rows]
    return "\n".join(lines)
