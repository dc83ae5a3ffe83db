"""What is taken for what, and which errors cost how much."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from markupsafe import Markup

from ppdet_ext.pages import Column, Row, table
from ppdet_ext.pages.charts import Bar, Part, bars, matrix
from ppdet_ext.pages.formats import UNKNOWN, count, fixed, percent, signed
from ppdet_ext.report.schema import BACKGROUND, ConfusionCell, ErrorKind, Report

from .classes import class_anchor
from .pictures import Album

MOST_CLASSES = 20  # of a matrix, beside the background
MOST_CELLS = 20
# Okabe and Ito's; background and missed in the colours of their pixels.
COLOURS = {
    "classification": "#e69f00",
    "localisation": "#56b4e9",
    "both": "#0072b2",
    "duplicate": "#8a909a",
    "background": "var(--fp)",
    "missed": "var(--fn)",
}


def confusion_section(report: Report, album: Album) -> dict[str, Any] | None:
    """The matrix with the background, in numbers and shares, and the largest mix-ups; None without anything to count."""
    full = np.array(report.confusion.matrix, np.int64)
    if not full.sum():
        return None
    names = [*report.head.class_names, BACKGROUND]
    kept, shown_names, shown = _most_confused(full, names)
    rows = np.maximum(shown.sum(axis=1, keepdims=True), 1)

    def link(i: int, j: int) -> str | None:
        if i == j or max(i, j) >= len(kept):
            return None
        truth, found = (None if place == len(names) - 1 else place for place in (kept[i], kept[j]))
        return _cell_link(truth, found, report, album)

    common: dict[str, Any] = {
        "rows_are": "annotated",
        "columns_are": "found",
        "strength": lambda i, j: shown[i, j] / rows[i, 0],
    }
    said = _said(shown_names, shown)
    share = (shown / rows).tolist()
    return {
        "counts": matrix("Number of objects", shown_names, shown_names, shown.tolist(), title=said, link=link, **common),
        "shares": matrix("Share of the row", shown_names, shown_names, share, text=percent, title=said, link=link, **common),
        "left_out": len(names) - len(kept),
        "cells": _cells(report, album),
    }


def _most_confused(full: np.ndarray, names: Sequence[str]) -> tuple[list[int], list[str], np.ndarray]:
    """Positions that are shown, names and counts; of many classes the most confused, the others summed up."""
    last = len(names) - 1
    if last <= MOST_CLASSES:
        return list(range(len(names))), list(names), full
    off = full - np.diag(np.diag(full))
    # What is missed or found on nothing weighs less than what is taken for another class.
    weight = (off[:last, :last].sum(axis=0) + off[:last, :last].sum(axis=1)) * 1000 + off[:last, last] + off[last, :last]
    kept = sorted(np.argsort(-weight, kind="stable")[:MOST_CLASSES].tolist())
    rest = [place for place in range(last) if place not in set(kept)]
    groups = [[place] for place in kept] + [rest, [last]]
    counts = np.array([[full[np.ix_(a, b)].sum() for b in groups] for a in groups])
    return kept, [*(names[place] for place in kept), f"{len(rest)} others", BACKGROUND], counts


def _said(names: Sequence[str], counts: np.ndarray) -> Any:
    def said(i: int, j: int) -> str:
        last = len(names) - 1
        number = count(counts[i, j])
        if i == last:
            return f"{number} found as {names[j]} where nothing is annotated"
        if j == last:
            return f"{number} of {names[i]} not found"
        return f"{number} of {names[i]} found as {names[j]}"

    return said


def _cell_link(truth: int | None, found: int | None, report: Report, album: Album) -> str | None:
    detail = ">".join(BACKGROUND if label is None else str(label) for label in (truth, found))
    images = next((cell.images for cell in report.confusion.cells if (cell.truth, cell.found) == (truth, found)), [])
    return album.link("confusion", detail, images)


def _cells(report: Report, album: Album) -> Markup | None:
    """The largest cells between classes: what is missed or found on nothing is the errors' section's."""
    cells = [cell for cell in report.confusion.cells if cell.truth is not None and cell.found is not None][:MOST_CELLS]
    if not cells:
        return None
    names = report.head.class_names
    rows = [
        Row([_name(names, cell.truth), _name(names, cell.found), float(cell.count), _looked(cell, report, album)])
        for cell in cells
    ]
    return table([Column("Annotated"), Column("Found as"), Column("Objects", text=count), Column("")], rows, "Largest mix-ups")


def _name(names: Sequence[str], label: int | None) -> str:
    return BACKGROUND if label is None else names[label]


def _looked(cell: ConfusionCell, report: Report, album: Album) -> Markup:
    target = _cell_link(cell.truth, cell.found, report, album)
    return Markup('<a href="{}">look</a>').format(target) if target else Markup("")


def error_section(report: Report, album: Album) -> dict[str, Any] | None:
    """Bars of what each kind costs and how often it occurs; None without errors' kinds."""
    kinds = report.errors.kinds
    if not kinds:
        return None
    gains = [kind for kind in kinds if kind.delta_ap50 is not None]
    costs = [_bar(kind, kind.delta_ap50 or 0.0, signed(kind.delta_ap50), album) for kind in gains]
    counts = [_bar(kind, float(kind.count), f"{count(kind.count)} · {count(kind.count_all)}", album) for kind in kinds]
    masks = [_bar(kind, float(kind.count), count(kind.count), album) for kind in report.errors.mask_kinds]
    return {
        "costs": bars("AP50 to gain by kind of error", costs, name_columns=32) if costs else None,
        "counts": bars("Errors by kind", counts, name_columns=32),
        "masks": bars("Errors of masks", masks) if masks else None,
        "classes": _by_class(report),
        "legend": [(kind.title, _colour(kind)) for kind in kinds],
        "definitions": [(kind.title, kind.definition) for kind in (*kinds, *report.errors.mask_kinds)],
        "ap50": fixed(report.errors.ap50) if report.errors.ap50 is not None else UNKNOWN,
    }


def _colour(kind: ErrorKind) -> str:
    return COLOURS.get(kind.key, "var(--accent)")


def _bar(kind: ErrorKind, value: float, text: str, album: Album) -> Bar:
    target = album.link("errors", kind.key, kind.images)
    return Bar(kind.title, [Part(value, _colour(kind), f"{kind.title}: {text}")], text, target)


def _by_class(report: Report) -> Markup | None:
    """Bars of the classes with most errors, in parts by kind; None of a single class."""
    names = report.head.class_names
    totals = {label: sum(kind.by_class.get(str(label), 0) for kind in report.errors.kinds) for label in range(len(names))}
    worst = sorted((label for label, total in totals.items() if total), key=lambda label: -totals[label])[:MOST_CLASSES]
    if len(names) < 2 or not worst:
        return None
    rows = []
    for label in worst:
        shares = [(kind, kind.by_class.get(str(label), 0)) for kind in report.errors.kinds]
        parts = [Part(float(n), _colour(kind), f"{names[label]}, {kind.title}: {count(n)}") for kind, n in shares if n]
        rows.append(Bar(names[label], parts, count(totals[label]), f"#{class_anchor(label)}"))
    return bars("Errors by class", rows)
