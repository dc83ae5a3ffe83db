"""Ids and names of classes and attributes, as of iMaterialist's label_descriptions.json, and the CSV fields that hold them."""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path

from ppdet_ext.errors import UserError
from ppdet_ext.files.text import read_text

from .rle_csv import RleCsv

# pandas writes the ids of a column with gaps as floats.
_NUMBER = re.compile(r"([0-9]{1,18})(\.0*)?", re.ASCII)


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
        Path(path).stat()
        content = json.loads(read_text(path))
    except (FileNotFoundError, UserError):
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


# Classes that a message lists.
_MOST_FOUND = 100


class ClassFault(Exception):
    """What is wrong with the class of a row: its `kind`, for all such rows, and as text the detail."""

    def __init__(self, kind: str, detail: str) -> None:
        super().__init__(detail)
        self.kind = kind


class ClassReader:
    """Tells label and attributes from the fields of a row."""

    def __init__(self, layout: RleCsv, labels: Labels) -> None:
        self.attribute_names, self.has_attributes = labels.attribute_names, layout.has_attributes
        self.field = layout.class_field
        self.headers = [layout.column_of(name) for name in (self.field, "attributes") if name in layout.fields]
        keys = labels.class_names if self.field == "class_name" else list(map(str, labels.category_ids))
        self.label_of = {key: label for label, key in enumerate(keys)}
        if self.field in ("predictions", "polygons"):
            # Labels of some are ids, of others names.
            self.label_of = {name: label for label, name in enumerate(labels.class_names)} | self.label_of
        ranged = self.field != "class_name" and len(keys) > 1
        # Classes of the rows that were asked for, in order, with one that is not known among them or not.
        self.found: dict[str, None] = {}
        self.known = f"known: {keys[0]} to {keys[-1]}" if ranged else f"known: {', '.join(keys[:20])}"

    @property
    def unknown(self) -> str:
        """The kind of the fault that a class is not known."""
        return f"rows of an unknown class ({self.known})"

    def remedy(self) -> str:
        """What to do about unknown classes: those that the rows have; "" where these have attributes."""
        if not self.found or self.field not in ("class_name", "class_id"):
            return ""
        numbers = all(key.isascii() and key.isdigit() for key in self.found)
        found = sorted(self.found, key=int) if numbers else sorted(self.found)
        shown = ", ".join(name[:60] for name in found) + (", …" if len(found) == _MOST_FOUND else "")
        key = "class_names" if self.field == "class_name" else "class_names and category_ids, in the same order,"
        return f"The file has the classes {shown}. Complete {key} to these, or mend the rows."

    def read(self, class_text: str, attributes: str | None) -> tuple[int, tuple[int, ...]]:
        """(label, attribute ids). Raises: ClassFault."""
        if self.field is None:
            return 0, ()
        if self.has_attributes:
            return self._attributed(class_text, attributes)
        number = _NUMBER.fullmatch(class_text) if self.field in ("class_id", "predictions") else None
        key = class_text if number is None else str(int(number[1]))
        if len(self.found) < _MOST_FOUND:
            self.found.setdefault(key)
        label = self.label_of.get(key)
        if label is None:
            raise ClassFault(self.unknown, f"class {class_text[:60]!r}")
        return label, ()

    def _attributed(self, class_text: str, written: str | None) -> tuple[int, tuple[int, ...]]:
        try:
            category, attributes = parse_class(class_text, written)
        except ValueError:
            cells = [class_text] if written is None else [class_text, written]
            detail = ", ".join(f"{header} {cell[:60]!r}" for header, cell in zip(self.headers, cells))
            raise ClassFault("rows whose class cannot be read", detail) from None
        if len(set(attributes)) < len(attributes):
            # 13_20_20 would be another class than 13_20 where classes are compared with their attributes.
            raise ClassFault("rows naming an attribute twice", f"attributes {', '.join(map(str, attributes))}")
        label = self.label_of.get(str(category))
        if label is None:
            raise ClassFault(self.unknown, f"class {category}")
        unknown = [] if self.attribute_names is None else [a for a in attributes if a not in self.attribute_names]
        if unknown:
            raise ClassFault("rows with unknown attributes", f"attributes {', '.join(map(str, unknown))}")
        return label, attributes
