"""The rows of iMaterialist's two CSV formats as text, one at a time: the file is far larger than what it says."""

import contextlib
import csv
from collections.abc import Iterator
from typing import Any, NamedTuple

from ppdet_ext.data.images.check import IMAGE_SUFFIXES
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError

COLUMNS = ("ImageId", "EncodedPixels", "Height", "Width", "ClassId")
ATTRIBUTES = "AttributesIds"
_EXPECTED = f"{','.join(COLUMNS)} (2019) or {','.join(COLUMNS)},{ATTRIBUTES} (2020)"
# csv takes 128 KiB for a field unless told, less than a ragged mask of 8,000 pixels' height; more than this is a lost quote.
_LONGEST_FIELD = 1 << 26


class Row(NamedTuple):
    """One row's fields without surrounding blanks.

    line: in the file, counted from 1. name: the image's file name, with `.jpg` where the CSV leaves it out.
    attributes: None where the format has no such column.
    """

    line: int
    name: str
    pixels: str
    height: str
    width: str
    class_id: str
    attributes: str | None


def read_rows(path: str, problems: Problems) -> Iterator[Row]:
    """The rows in order. Those that cannot be told apart into fields, or name no image, become problems.

    Raises: UserError for an empty file, one that is no CSV, or wrong columns; OSError when it cannot be read.
    """
    csv.field_size_limit(max(_LONGEST_FIELD, csv.field_size_limit()))
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        with _explained(path, reader):
            header = [cell.strip() for cell in next(reader, [])]
            places = _places(path, header)
            count = 0
            for fields in reader:
                if not fields:
                    continue
                count += 1
                row = _row(fields, places, len(header), reader.line_num, problems)
                if row is not None:
                    yield row
            if not count:
                raise UserError(f"{path}: the file has no rows. Expected rows under the columns {_EXPECTED}.")


def _places(path: str, header: list[str]) -> list[int | None]:
    """Where in a row the fields of `Row` are."""
    if not any(header):
        raise UserError(f"{path}: the file is empty. Expected the columns {_EXPECTED}.")
    if not set(COLUMNS) <= set(header):
        raise UserError(f"{path}: found the columns {','.join(header)[:200]}; expected {_EXPECTED}.")
    return [header.index(name) if name in header else None for name in (*COLUMNS, ATTRIBUTES)]


def _row(fields: list[str], places: list[int | None], width: int, line: int, problems: Problems) -> Row | None:
    if len(fields) != width:
        name = fields[places[0]].strip() if len(fields) > places[0] else ""
        detail = f"{name[:60]!r} (row {line}) has {len(fields)} fields"
        problems.add(f"rows with other than {width} fields", detail, _file_name(name) if name else None)
        return None
    found = [None if place is None else fields[place].strip() for place in places]
    if not found[0]:
        problems.add("rows without an image", f"row {line}")
        return None
    found[0] = _file_name(found[0])
    return Row(line, *found)


def _file_name(name: str) -> str:
    return name if name.lower().endswith(IMAGE_SUFFIXES) else f"{name}.jpg"


@contextlib.contextmanager
def _explained(path: str, reader: Any) -> Iterator[None]:
    try:
        yield
    except csv.Error as fault:
        raise UserError(f"{path}: not a CSV file (row {reader.line_num}: {fault}). Expected the columns {_EXPECTED}.") from None
    except UnicodeDecodeError as fault:
        raise UserError(f"{path}: not a CSV file ({fault}). Expected the columns {_EXPECTED}.") from None
