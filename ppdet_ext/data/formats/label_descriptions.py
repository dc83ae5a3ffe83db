"""Ids and names of iMaterialist's categories and attributes, and the CSV fields that hold such ids."""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path

from ppdet_ext.errors import UserError


@dataclass(frozen=True, slots=True)
class Labels:
    """What ids mean; a label is a category's position here.

    class_names, category_ids: by label, in order of the ids. attribute_names: by attribute id (ids may have gaps), or None
    where nothing says which attributes there are, so that every id counts as one.
    """

    class_names: list[str]
    category_ids: list[int]
    attribute_names: dict[int, str] | None


def labels_of(class_names: list[str]) -> Labels:
    """Labels by names alone: ids 0, 1, …; any attribute."""
    return Labels(list(class_names), list(range(len(class_names))), None)


def read_labels(path: str) -> Labels:
    """Read `label_descriptions.json`: objects with `id` and `name` in the lists `categories` and `attributes` (may be missing).

    Raises: UserError naming the file, and the entry if one is at fault; FileNotFoundError when there is no such file.
    """
    try:
        content = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as fault:
        raise UserError(f"{path}: not a JSON file ({fault}). Fetch it again.") from None
    if not isinstance(content, dict) or not content.get("categories"):
        raise UserError(f"{path}: there are no `categories`; iMaterialist's label_descriptions.json is expected.")
    categories = _named(path, content["categories"], "categories")
    return Labels(list(categories.values()), list(categories), _named(path, content.get("attributes", []), "attributes"))


def _named(path: str, entries: object, section: str) -> dict[int, str]:
    """Names by id, in order of the ids."""
    found: dict[int, str] = {}
    for position, entry in enumerate(entries if isinstance(entries, list) else [entries]):
        number, name = (entry.get("id"), entry.get("name")) if isinstance(entry, dict) else (None, None)
        if type(number) is not int or number < 0 or not isinstance(name, str):
            raise UserError(
                f"{path}: entry {position} of {section} ({str(entry)[:80]}) needs a whole number `id` and a `name`."
            )
        if number in found:
            raise UserError(f"{path}: the id {number} is used twice in {section} ({found[number]}; {name}).")
        found[number] = name
    return dict(sorted(found.items()))


@functools.lru_cache(maxsize=1 << 14)
def parse_class(class_id: str, attributes: str | None = None) -> tuple[int, tuple[int, ...]]:
    """Category id and attribute ids of a row.

    2019: the ClassId alone, `6`, or `13_20_45` with attributes. 2020: ClassId `13`, and AttributesIds `20,45` or blank.

    Raises: ValueError for anything else.
    """
    category, *appended = _numbers(class_id, "_")
    if attributes is None:
        return category, tuple(appended)
    if appended:
        raise ValueError(f"{class_id!r} is not a number")
    return category, _numbers(attributes, ",") if attributes.strip() else ()


def _numbers(text: str, separator: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(separator)]
    # int() would also take signs, underscores between digits, and digits of other scripts.
    if not all(part.isascii() and part.isdigit() for part in parts):
        raise ValueError(f"{text!r} is not of the form 1{separator}2{separator}3")
    return tuple(map(int, parts))
