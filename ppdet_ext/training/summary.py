"""What a training says of itself: before the first step, once it knows its speed, and at its end."""

from __future__ import annotations

import datetime
import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.errors import counted
from ppdet_ext.structures import Record

from .hooks import Hook
from .hooks.evaluate import decisive
from .state import TrainState

SHOWN = 12
# The first step is slower than all others: memory is taken, algorithms are chosen.
FIRST, MEASURED = 1, 10
TITLES = {"bbox": "box", "segm": "mask"}
logger = logging.getLogger("ppdet_ext")


def objects_by_class(title: str, records: Sequence[Record], class_names: Sequence[str]) -> list[str]:
    """A table of how many objects a data set has of each class, and in how many images; crowds are left out."""
    own = [np.bincount(record.labels[~record.crowd], minlength=len(class_names)) for record in records]
    objects, images = np.sum(own, axis=0), np.sum([counts > 0 for counts in own], axis=0)
    empty = sum(not len(record.labels) for record in records)
    lines = [
        f"{title}: {counted(int(objects.sum()), 'objects')} in {len(records) - empty} of {counted(len(records), 'images')}"
    ]
    order = np.argsort(-objects, kind="stable")
    wide = max((len(class_names[label]) for label in order[:SHOWN]), default=0)
    there = [int(label) for label in order if objects[label]]
    lines += [f"  {class_names[i]:{wide}s}  {objects[i]:7d} in {counted(int(images[i]), 'images')}" for i in there[:SHOWN]]
    if len(there) > SHOWN:
        rarest = there[-1]
        last = f"{class_names[rarest]} with {objects[rarest]}"
        lines.append(f"  and {counted(len(there) - SHOWN, 'classes')} more; the rarest is {last}")
    if missing := [class_names[label] for label in order if not objects[label]]:
        names = ", ".join(missing[:SHOWN]) + (", …" if len(missing) > SHOWN else "")
        lines.append(f"  without any object: {names}")
    return lines


def computing(threads: str | None, workers: int, amp: bool) -> str:
    """How the machine is used, in a line."""
    number = threads or str(os.cpu_count() or 1)
    said = counted(int(number), "threads") if number.isdigit() else f"OMP_NUM_THREADS: {number}"
    prepared = f"batches prepared by {counted(workers, 'processes')} beside it" if workers else "batches prepared in between"
    return f"{said}, {prepared}, {'mixed precision' if amp else 'float32'}"


class Estimate(Hook):
    """Says once, after the first steps, how long the steps that are left will take."""

    def __init__(self) -> None:
        self._costs: list[float] = []
        self._said = False

    def after_step(self, state: TrainState) -> None:
        if self._said:
            return
        self._costs.append(state.batch_cost)
        measured = self._costs[FIRST:]
        left = state.epochs * state.steps_per_epoch - state.iteration - 1
        if len(measured) < MEASURED or not left:
            return
        self._said = True
        cost = float(np.median(measured))
        seconds = left * cost
        end = datetime.datetime.now() + datetime.timedelta(seconds=seconds)
        logger.info(
            "%.2f s a step: %s for the %s, until about %s; evaluations come on top",
            cost,
            datetime.timedelta(seconds=int(seconds)),
            counted(left, "steps that are left"),
            end.strftime("%H:%M" if seconds < 43200 else "%m/%d %H:%M"),
        )


class EvaluationTable(Hook):
    """Shows all evaluations of the run at its end, also those before it was resumed; the best is marked as the weights' is.

    Args:
        path: of the run's `metrics.jsonl`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def after_train(self, state: TrainState) -> None:
        lines = evaluation_table(evaluations(self.path))
        if lines:
            logger.info("Evaluations:\n%s", "\n".join(lines))


def evaluations(path: Path) -> list[dict[str, Any]]:
    """The evaluations in a `metrics.jsonl`, by rising epoch; lines that are damaged are left out."""
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict) and entry.get("kind") == "eval":
            found.append(entry)
    return found


def evaluation_table(entries: Sequence[Mapping[str, Any]]) -> list[str]:
    """A row for each evaluation, with the number that counts of each metric, of COCO's AP50 too; of many the last dozen."""
    if not entries:
        return []
    kinds = [kind for kind, numbers in entries[-1].items() if isinstance(numbers, list) and numbers]
    values = [decisive({kind: entry[kind] for kind in kinds if kind in entry})[1] for entry in entries]
    best = int(np.argmax(values))  # of equals the first, as for best_model
    titles, columns = [], []
    for kind in kinds:
        for place, what in ((0, "AP"), (1, "AP50")) if kind in TITLES else ((0, ""),):
            titles.append(f"{TITLES[kind]} {what}" if kind in TITLES else kind)
            columns.append([entry[kind][place] if kind in entry else None for entry in entries])
    chosen = sorted({best, *range(max(0, len(entries) - SHOWN), len(entries))})
    lines = ["epoch  " + "  ".join(f"{title:>8s}" for title in titles)]
    for row in chosen:
        cells = (f"{'-' if column[row] is None else format(column[row], '.4f'):>{max(8, len(title))}s}"
                 for column, title in zip(columns, titles))  # fmt: skip
        lines.append(f"{entries[row]['epoch']:5d}  " + "  ".join(cells) + ("  best" if row == best else ""))
    return lines
