"""What the columns of an unknown CSV of masks may be, by their names and first cells: a description to begin with."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from ppdet_ext.data.images.check import IMAGE_SUFFIXES

# What columns are called, in small letters without blanks, "_" and "-"; the first that is there counts.
_CALLED = {
    "name": ("imageid", "imagename", "filename", "image", "imagepath", "file", "img", "picture", "id", "name", "bild",
             "bildname", "bilddatei", "datei", "dateiname"),
    "class": ("classid", "classname", "class", "label", "labelname", "categoryid", "category", "defect", "defecttype", "type",
              "klasse", "fehlerart", "fehler", "fehlerklasse", "kategorie"),
    "height": ("height", "imageheight", "imgheight", "h", "hoehe", "höhe", "bildhöhe"),
    "width": ("width", "imagewidth", "imgwidth", "w", "breite", "bildbreite"),
    "score": ("score", "confidence"),
}  # fmt: skip
_MASKS = ("rle", "encodedpixels", "mask", "maske", "segmentation", "pixels", "rlemask")
_RUNS = re.compile(r"\d+ \d+( \d+ \d+)*", re.ASCII)
_MOST_CLASSES = 20
_LONGEST_CLASS = 40  # letters


def class_columns(header: Sequence[str]) -> list[str]:
    """Columns that, by their names, say a class."""
    return [column for column in header if _plain(column) in _CALLED["class"]]


def suggestion(header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """`columns`, `class_names` as far as the rows show them, and what goes with these; {} without a name or masks.

    Cells go before names: runs of numbers are masks, names of picture files are names, and a few short texts that come again
    are classes.
    """
    cells = {column: [row[place] for row in rows] for place, column in enumerate(header)}
    mask = _mask_column(cells)
    found = _by_name([column for column in header if column != mask])
    pictures = [column for column in header if column != mask and cells[column] and all(map(_is_picture, cells[column]))]
    if pictures and found.get("name") not in pictures:
        others = {field: column for field, column in found.items() if field != "name" and column != pictures[0]}
        found = {"name": pictures[0], **others}
    if mask is None or "name" not in found:
        return {}
    rest = [column for column in header if column not in (mask, *found.values())]
    if "class" not in found and (classes := [column for column in rest if _are_classes(cells[column])]):
        found = {"name": found["name"], "class": classes[0], **found}
    return _described(found, mask, cells)


def as_yaml(told: Mapping[str, Any]) -> str:
    """A suggestion as YAML in one line."""
    text = yaml.safe_dump(dict(told), default_flow_style=True, sort_keys=False, allow_unicode=True, width=float("inf"))
    return text.strip()[1:-1]


def as_options(told: Mapping[str, Any]) -> list[str]:
    """A suggestion as texts KEY=VALUE, the values in YAML."""
    return [as_yaml({key: value}).replace(": ", "=", 1) for key, value in told.items()]


def _described(found: Mapping[str, str], mask: str, cells: Mapping[str, Sequence[str]]) -> dict[str, Any]:
    kinds = cells[found["class"]] if "class" in found else []
    # Numbers are ids, whose names nobody knows here.
    by_name = not all(re.fullmatch(r"\d*", cell, re.ASCII) for cell in kinds)
    fields = {"name": "{name}", "class": "{class_name}" if by_name else "{class_id}", "score": "{score}"}
    if {"height", "width"} <= found.keys():
        fields |= {"height": "{height}", "width": "{width}"}
    columns = {column: fields[field] for field, column in found.items() if field in fields and column != mask}
    told: dict[str, Any] = {"columns": {**columns, mask: "{rle}"}}
    if not kinds:
        return {**told, "class_names": ["object"]}
    classes = sorted({cell for cell in kinds if cell}, key=lambda cell: (len(cell), cell) if not by_name else (0, cell))
    if by_name:
        told["class_names"] = classes[:_MOST_CLASSES]
    elif classes:
        ids = sorted({int(cell) for cell in classes})
        told["class_names"] = [f"class {number}" for number in ids]
        told |= {"category_ids": ids} if ids != list(range(1, len(ids) + 1)) else {}
    shown = [(name, kind) for name, kind, runs in zip(cells[found["name"]], kinds, cells[mask]) if runs]
    if len(shown) > 1 and len(set(shown)) == len(shown):
        told["rows"] = "class"
    return told


def _mask_column(cells: Mapping[str, Sequence[str]]) -> str | None:
    """The column with most cells of run lengths; where no row has any, one that is called as masks are, if it is blank."""
    runs = {column: sum(_RUNS.fullmatch(cell) is not None for cell in own) for column, own in cells.items()}
    best = max(runs, key=lambda column: runs[column], default=None)
    if best is not None and runs[best]:
        return best
    called = next((column for column in cells if _plain(column) in _MASKS), None)
    return called if called is not None and cells[called] and not any(cells[called]) else None


def _are_classes(cells: Sequence[str]) -> bool:
    """Whether they are few different short texts, of which some come again."""
    different = {cell for cell in cells if cell}
    return (
        0 < len(different) <= _MOST_CLASSES
        and 2 * len(different) <= len(cells)
        and all(len(cell) <= _LONGEST_CLASS and not re.fullmatch(r"[\d., :+-]*", cell) for cell in different)
    )


def _is_picture(cell: str) -> bool:
    return cell.lower().endswith(IMAGE_SUFFIXES)


def _by_name(header: Sequence[str]) -> dict[str, str]:
    """Field -> the column that is called so, or else one of which a word is: "Image file", "defect_class (final)"."""
    plain = {_plain(column): column for column in reversed(header)}
    found = {field: plain[name] for field, called in _CALLED.items() if (name := _first(called, plain)) is not None}
    # A picture's class and height are not its name.
    for field in sorted(_CALLED, key=lambda one: one == "name"):
        rest = [column for column in reversed(header) if column not in found.values()]
        words = {word: column for column in rest for word in re.split(r"[\W_]+", column.lower()) if len(word) > 2}
        if field not in found and (name := _first(_CALLED[field], words)) is not None:
            found[field] = words[name]
    return {field: found[field] for field in _CALLED if field in found}


def _first(called: Sequence[str], known: Mapping[str, str]) -> str | None:
    return next((name for name in called if name in known), None)


def _plain(column: str) -> str:
    return re.sub(r"[ _-]", "", column.lower())
