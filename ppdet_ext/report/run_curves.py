"""The curves of a training, from its `metrics.jsonl`."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from ppdet_ext.checkpoint.folder import METRICS_FILE
from ppdet_ext.evaluation.metric import NOWHERE
from ppdet_ext.training.hooks.evaluate import decisive

from .schema import Evaluation, RunCurves

POINTS = 500


def run_curves(folder: Path) -> RunCurves | None:
    """Those of the run in a folder; None where it has no record. Lines that are damaged are left out."""
    try:
        lines = (folder / METRICS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    entries = [entry for entry in map(_parsed, lines) if entry]
    steps = [entry for entry in entries if entry.get("kind") == "train" and "losses" in entry and "step" in entry]
    tests = [entry for entry in entries if entry.get("kind") == "eval" and isinstance(entry.get("named"), dict)]
    if not steps and not tests:
        return None
    # Every n-th and the last.
    stride = max(1, math.ceil(len(steps) / POINTS))
    chosen = steps[::stride] + ([steps[-1]] if steps and (len(steps) - 1) % stride else [])
    length = max((entry["step"] for entry in steps), default=0) + 1
    names = list(dict.fromkeys(name for entry in chosen for name in entry["losses"]))
    best_epoch, best_metric = _best(tests)
    return RunCurves(
        name=folder.name,
        epochs=[round(entry["epoch"] + (entry["step"] + 1) / length, 4) for entry in chosen],
        losses={name: [_finite(entry["losses"].get(name)) for entry in chosen] for name in names},
        learning_rate=[_finite(entry.get("learning_rate")) for entry in chosen],
        evaluations=[Evaluation(int(entry["epoch"]), _named(entry["named"])) for entry in tests],
        best_epoch=best_epoch,
        best_metric=best_metric,
    )


def best_numbers(folder: Path) -> dict[str, list[float]] | None:
    """What the best evaluation of a run has measured, by metric; None where none is recorded."""
    try:
        lines = (folder / METRICS_FILE).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return None
    tests = [entry for entry in map(_parsed, lines) if entry.get("kind") == "eval"]
    epoch, _ = _best(tests)
    return next((_numbers(entry) for entry in tests if entry["epoch"] == epoch), None)


def _numbers(entry: dict[str, Any]) -> dict[str, list[float]]:
    return {key: value for key, value in entry.items() if isinstance(value, list) and value}


def _parsed(line: str) -> dict[str, Any]:
    try:
        entry = json.loads(line)
    except ValueError:
        return {}
    return entry if isinstance(entry, dict) and isinstance(entry.get("epoch"), int) else {}


def _best(tests: list[dict[str, Any]]) -> tuple[int | None, str | None]:
    """(epoch, metric) of the best evaluation, by what chooses a run's best weights; the first of equal ones."""
    best: tuple[float, int, str] | None = None
    for entry in tests:
        numbers = _numbers(entry)
        if not numbers:
            continue
        name, value = decisive(numbers)
        if best is None or name != best[2] or value > best[0]:
            best = value, int(entry["epoch"]), name
    return (None, None) if best is None else best[1:]


def _named(named: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    return {str(kind): {str(name): _finite(value) for name, value in own.items()} for kind, own in named.items()}


def _finite(value: Any) -> float | None:
    """A number that is one; -1 stands for none."""
    if not isinstance(value, (int, float)) or not math.isfinite(value) or value == NOWHERE:
        return None
    return float(value)
