"""The rows of JSON lines, an image a line with a list of its objects, as HuBMAP 2023's polygons.jsonl."""

from __future__ import annotations

import json
from collections.abc import Iterator

from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError
from ppdet_ext.files.text import check_text

from .rle_csv import RleCsv

# What is needed to know that a file is JSON lines.
_START = 64


def is_json_lines(path: str) -> bool:
    """Whether a file begins with an object of JSON, as no header of a CSV does. Raises: OSError when it cannot be read."""
    with open(path, "rb") as file:
        return file.read(_START).removeprefix(b"\xef\xbb\xbf").lstrip()[:1] == b"{"


def json_keys(path: str) -> list[str]:
    """The keys of the first line, in order. Raises: UserError where it is no object."""
    for _, content in _lines(path):
        return list(content)
    return []


def json_rows(path: str, layout: RleCsv, problems: Problems) -> Iterator[tuple[int, str, str, str]]:
    """(line, image, coordinates as JSON, type) of each object, of an image without any one with blank texts.

    Objects are {"type", "coordinates"}; what is no such thing becomes a problem. Raises: UserError for what is no JSON.
    """
    names, objects = layout.column_of("name"), layout.column_of("polygons")
    for line, content in _lines(path):
        name, found = content.get(names), content.get(objects)
        if not isinstance(name, str) or not name or not isinstance(found, list):
            problems.add(
                f"lines without {names} or a list of {objects}", f"line {line}", name if isinstance(name, str) else None
            )
            continue
        if not found:
            yield line, name, "", ""
        for one in found:
            if isinstance(one, dict) and one.get("coordinates") and isinstance(one.get("type"), str):
                yield line, name, json.dumps(one["coordinates"]), one["type"]
            else:
                problems.add(f"{objects} without type or coordinates", f"{name} (line {line}): {str(one)[:60]}", name)


def _lines(path: str) -> Iterator[tuple[int, dict]]:
    """(number from 1, object) of each line that is not blank."""
    with open(path, encoding=check_text(path)) as file:
        try:
            for number, text in enumerate(file, 1):
                if text.strip():
                    content = json.loads(text)
                    if not isinstance(content, dict):
                        raise UserError(f"{path}: line {number} is no object {{key: value}}; JSON lines have one in each line.")
                    yield number, content
        except (ValueError, RecursionError) as fault:
            if isinstance(fault, UserError):
                raise
            raise UserError(f"{path}: not JSON lines, an object a line ({fault}).") from None
