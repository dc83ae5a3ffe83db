"""What the columns of an unknown CSV of masks may be, by their names and first cells: a description to begin with."""

from __future__ import annotations

import re
from collections.abc import Sequence

import yaml

# What columns are called, in small letters without blanks, "_" and "-"; the first that is there counts.
_CALLED = {
    "name": ("imageid", "imagename", "filename", "image", "imagepath", "file", "img", "picture", "id", "name"),
    "class": ("classid", "classname", "class", "label", "labelname", "categoryid", "category", "defect", "defecttype", "type"),
    "height": ("height", "imageheight", "imgheight", "h"),
    "width": ("width", "imagewidth", "imgwidth", "w"),
    "score": ("score", "confidence"),
}
_RUNS = re.compile(r"\d+ \d+( \d+ \d+)*", re.ASCII)
_MOST_CLASSES = 20


def class_columns(header: Sequence[str]) -> list[str]:
    """Columns that, by their names, say a class."""
    return [column for column in header if _plain(column) in _CALLED["class"]]


def suggestion(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """`columns`, and `class_names` as far as the rows show them, as YAML in one line; "" without a name or masks."""
    masks = {column: sum(_RUNS.fullmatch(row[place]) is not None for row in rows) for place, column in enumerate(header)}
    found = {field: column for field, called in _CALLED.items() if (column := _column(header, called)) is not None}
    mask = max(masks, key=lambda column: masks[column], default="")
    if not masks.get(mask) or found.get("name") in (None, mask):
        return ""
    cells = [row[header.index(found["class"])] for row in rows] if "class" in found else []
    # Ids need category_ids or names that nobody knows here.
    by_name = not all(re.fullmatch(r"\d*", cell) for cell in cells)
    fields = {"name": "{name}", "class": "{class_name}" if by_name else "{class_id}", "score": "{score}"}
    if {"height", "width"} <= found.keys():
        fields |= {"height": "{height}", "width": "{width}"}
    columns = {column: fields[field] for field, column in found.items() if field in fields and column != mask}
    told: dict[str, object] = {"columns": {**columns, mask: "{rle}"}}
    if by_name and cells:
        told["class_names"] = sorted(filter(None, set(cells)))[:_MOST_CLASSES]
    return yaml.safe_dump(told, default_flow_style=True, sort_keys=False, allow_unicode=True, width=1000).strip()[1:-1]


def _column(header: Sequence[str], called: Sequence[str]) -> str | None:
    plain = {_plain(column): column for column in reversed(header)}
    return next((plain[name] for name in called if name in plain), None)


def _plain(column: str) -> str:
    return re.sub(r"[ _-]", "", column.lower())
