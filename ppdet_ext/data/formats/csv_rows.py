"""The rows of a CSV of masks as text, one at a time: such files are far larger than what they say."""

import contextlib
import csv
import itertools
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ppdet_ext.data.images.check import IMAGE_SUFFIXES
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError, counted

from .rle_csv import RleCsv

# csv takes 128 KiB for a field unless told, less than a ragged mask of 8,000 pixels' height; more than this is a lost quote.
_LONGEST_FIELD = 1 << 26


class Row(NamedTuple):
    """One row's fields without surrounding blanks; those that the layout has not are "".

    line: in the file, counted from 1. name: the image's file name, with the suffix that the CSV leaves out.
    attributes: None where the layout has no such field.
    """

    line: int
    name: str
    rle: str
    class_text: str
    height: str
    width: str
    attributes: str | None


def layout_of(path: str, layouts: Sequence[RleCsv]) -> RleCsv:
    """The layout whose columns a CSV has; of several the one with the most.

    Raises: UserError for an empty file, one that is no CSV, or other columns; OSError when it cannot be read.
    """
    expected = " or ".join(",".join(layout.header) for layout in layouts)
    with _opened(path, expected) as reader:
        header = _header(reader)
    if not any(header):
        raise UserError(f"{path}: the file is empty. Expected the columns {expected}.")
    fitting = [layout for layout in layouts if set(layout.header) <= set(header)]
    if not fitting:
        raise UserError(f"{path}: found the columns {','.join(header)[:200]}; expected {expected}.")
    return max(fitting, key=lambda layout: len(layout.header))


def first_rows(path: str, count: int) -> tuple[list[str], list[list[str]]]:
    """The header and up to `count` rows of as many cells, without surrounding blanks. Raises: as `layout_of`."""
    with _opened(path, "of a CSV of masks") as reader:
        header = _header(reader)
        rows = [[cell.strip() for cell in cells] for cells in itertools.islice(reader, count) if len(cells) == len(header)]
    if not any(header):
        raise UserError(f"{path}: the file is empty.")
    return header, rows


def read_rows(path: str, layout: RleCsv, suffix: str, problems: Problems) -> Iterator[Row]:
    """The rows in order. Those that cannot be told apart into fields, or name no image, become problems.

    suffix: of the pictures' files, where names have none of a picture; "" takes names as they are.

    Raises: UserError for a file without rows, or one that is no CSV; OSError when it cannot be read.
    """
    expected = ",".join(layout.header)
    with _opened(path, expected) as reader:
        parser = _RowParser(_header(reader), layout, suffix, problems)
        count = 0
        for cells in reader:
            # The first cell, mostly the name, decides at once; an empty line has no cell.
            if cells and (cells[0].strip() or any(cell.strip() for cell in cells)):
                count += 1
                row = parser.row(cells, reader.line_num)
                if row is not None:
                    yield row
        if not count:
            raise UserError(f"{path}: the file has no rows. Expected rows under the columns {expected}.")


class _RowParser:
    """Takes rows apart into fields."""

    def __init__(self, header: list[str], layout: RleCsv, suffix: str, problems: Problems) -> None:
        self.width, self.layout, self.suffix, self.problems = len(header), layout, suffix, problems
        bare = {column.fields[0]: header.index(column.header) for column in layout.cells if column.bare}
        wanted = ("name", "rle", layout.class_field, "height", "width", "attributes")
        self.places = [None if name is None else bare.get(name) for name in wanted]
        self.composed = [(header.index(column.header), column) for column in layout.cells if not column.bare]
        self.slots = {name: slot for slot, name in enumerate(wanted)}
        self.empty = ["", "", "", "", "", "" if "attributes" in layout.fields else None]

    def row(self, cells: list[str], line: int) -> Row | None:
        """The row of the file's line, or None where it is a problem."""
        if len(cells) != self.width:
            at = self.places[0] or 0
            name = cells[at].strip() if len(cells) > at else ""
            self.problems.add(
                f"rows with other than {self.width} fields",
                f"{name[:60]!r} (row {line}) has {counted(len(cells), 'fields')}",
                self._file_name(name) if name else None,
            )
            return None
        found = [none if place is None else cells[place].strip() for place, none in zip(self.places, self.empty)]
        for place, column in self.composed:
            values = column.read(cells[place].strip())
            if values is None:
                detail = f"{cells[place].strip()[:60]!r} (row {line})"
                self.problems.add(f"rows whose {column.header} is not of the form {column.text}", detail)
                return None
            for name, value in values.items():
                if name in self.slots:
                    found[self.slots[name]] = value.strip()
        if not found[0]:
            self.problems.add("rows without an image", f"row {line}")
            return None
        found[0] = self._file_name(found[0])
        return Row(line, *found)  # type: ignore[arg-type]  # only attributes may be None

    def _file_name(self, name: str) -> str:
        return name if not self.suffix or name.lower().endswith(IMAGE_SUFFIXES) else f"{name}{self.suffix}"


def _header(reader: Any) -> list[str]:
    return [cell.strip() for cell in next(reader, [])]


@contextlib.contextmanager
def _opened(path: str, expected: str) -> Iterator[Any]:
    """A csv reader of the file, whose faults are UserErrors."""
    csv.field_size_limit(max(_LONGEST_FIELD, csv.field_size_limit()))
    with open(path, encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        try:
            yield reader
        except csv.Error as fault:
            where = f"row {reader.line_num}: {fault}"
            raise UserError(f"{path}: not a CSV file ({where}). Expected the columns {expected}.") from None
        except UnicodeDecodeError as fault:
            raise UserError(f"{path}: not a CSV file ({fault}). Expected the columns {expected}.") from None
