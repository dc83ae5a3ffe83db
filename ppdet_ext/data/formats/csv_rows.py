"""The rows of a CSV of masks as text, one at a time: such files are far larger than what they say."""

import contextlib
import csv
import itertools
import os
import shlex
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from ppdet_ext.data.images.check import IMAGE_SUFFIXES
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.text import SAVE_AS_UTF8, check_text

from .json_rows import is_json_lines, json_keys, json_rows
from .mask_texts import triples_of
from .rle_csv import RleCsv

# Of tables that are none of commas.
_SEPARATORS = {";": "semicolons", "\t": "tabs", "|": "bars"}
# csv takes 128 KiB for a field unless told, less than a ragged mask of 8,000 pixels' height; more than this is a lost quote.
_LONGEST_FIELD = 1 << 26


class Row(NamedTuple):
    """One row's fields without surrounding blanks; those that the layout has not are "".

    line: in the file, counted from 1. name: the image's file name, with the suffix that the CSV leaves out.
    attributes: None where the layout has no such field. score: a number's text.
    """

    line: int
    name: str
    rle: str
    class_text: str
    height: str
    width: str
    attributes: str | None
    score: str = ""


# Of `Row`, without `line`.
_FIELDS = len(Row._fields) - 1


def layout_of(path: str, layouts: Sequence[RleCsv]) -> RleCsv:
    """The layout whose columns a CSV has; of several the one with the most.

    Raises: UserError for an empty file, one that is no CSV, or other columns; OSError when it cannot be read.
    """
    expected = " or ".join(",".join(layout.header) for layout in layouts)
    if is_json_lines(path):
        header = json_keys(path)
    else:
        with _opened(path, expected) as reader:
            header = _header(reader)
    if not any(header):
        raise UserError(f"{path}: the file is empty. Expected the columns {expected}.")
    fitting = [layout for layout in layouts if set(layout.header) <= set(header)]
    if not fitting:
        hint = _why_one_column(path, header)
        raise UserError(f"{path}: found the columns {','.join(header)[:200]}; expected {expected}.{hint and f' {hint}'}")
    return max(fitting, key=lambda layout: len(layout.header))


def first_rows(path: str, count: int) -> tuple[list[str], list[list[str]]]:
    """The header and up to `count` rows of as many cells, without surrounding blanks. Raises: as `layout_of`."""
    if is_json_lines(path):
        return json_keys(path), []
    with _opened(path, "of a CSV of masks") as reader:
        header = _header(reader)
        rows = [[cell.strip() for cell in cells] for cells in itertools.islice(reader, count) if len(cells) == len(header)]
    if not any(header):
        raise UserError(f"{path}: the file is empty.")
    if why := _why_one_column(path, header):
        raise UserError(f"{path}: {why}")
    return header, rows


def _why_one_column(path: str, header: Sequence[str]) -> str:
    """What a file of one column seems to be, and what to do; "" where nothing speaks for another kind of file."""
    if header and header[0].startswith(("<", "[")):
        kind = "XML" if header[0].startswith("<") else "JSON"
        return f"It is {kind}, not a CSV. What a label tool has exported, import_labels reads."
    other = next((mark for mark in _SEPARATORS if len(header) == 1 and mark in header[0]), None)
    if other is None:
        return ""
    target = f"{os.path.splitext(path)[0]}_commas.csv"
    return (
        f"Its columns are separated by {_SEPARATORS[other]} ({other!r}), as by Excel in some languages; save it with commas. "
        f"Where no cell has a comma this does it: tr {shlex.quote(repr(other)[1:-1])} , < {shlex.quote(path)} > "
        f"{shlex.quote(target)}"
    )


def read_rows(path: str, layout: RleCsv, suffix: str, problems: Problems, min_score: float = 0) -> Iterator[Row]:
    """The rows in order; of a row with several instances one for each.

    What cannot be told apart into fields, or names no image, becomes a problem.

    suffix: of the pictures' files, where names have none of a picture; "" takes names as they are.
    min_score: of rows with a lower score only the image's name is left.

    Raises: UserError for a file without rows, or one that is no CSV; OSError when it cannot be read.
    """
    expected = ",".join(layout.header)
    if layout.mask_field == "polygons":
        for line, name, polygon, kind in json_rows(path, layout, problems):
            yield Row(line, name, polygon, kind, "", "", None)
        return
    with _opened(path, expected) as reader:
        parser = _RowParser(_header(reader), layout, suffix, problems)
        count = 0
        for cells in reader:
            # The first cell, mostly the name, decides at once; an empty line has no cell.
            if cells and (cells[0].strip() or any(cell.strip() for cell in cells)):
                count += 1
                row = parser.row(cells, reader.line_num)
                if row is not None:
                    yield from parser.instances(row, min_score)
        if not count:
            raise UserError(f"{path}: the file has no rows. Expected rows under the columns {expected}.")


class _RowParser:
    """Takes rows apart into fields."""

    def __init__(self, header: list[str], layout: RleCsv, suffix: str, problems: Problems) -> None:
        self.width, self.layout, self.suffix, self.problems = len(header), layout, suffix, problems
        bare = {column.fields[0]: header.index(column.header) for column in layout.cells if column.bare}
        # Behind the fields of `Row` the parts of a name, where no column holds all of it.
        wanted = ("name", layout.mask_field, layout.class_field, "height", "width", "attributes", "score", *layout.name_parts)
        self.places = [None if name is None else bare.get(name) for name in wanted]
        self.composed = [(header.index(column.header), column) for column in layout.cells if not column.bare]
        self.slots = {name: slot for slot, name in enumerate(wanted)}
        self.empty = ["", "", "", "", "", "" if "attributes" in layout.fields else None, "", *[""] * len(layout.name_parts)]
        self.named_by_parts = bool(layout.name_parts)
        self.scored = not layout.fields.isdisjoint(("score", "predictions"))

    def row(self, cells: list[str], line: int) -> Row | None:
        """The row of the file's line, or None where it is a problem."""
        if len(cells) != self.width:
            at = self.places[0] or 0
            name = cells[at].strip() if len(cells) > at and not self.named_by_parts else ""
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
        if self.named_by_parts:
            parts = [part or "" for part in found[_FIELDS:]]
            found = [self.layout.join(parts) if all(parts) else "", *found[1:_FIELDS]]
        if not found[0]:
            self.problems.add("rows without an image", f"row {line}")
            return None
        found[0] = self._file_name(found[0])
        return Row(line, *found)  # type: ignore[arg-type]  # only attributes may be None

    def instances(self, row: Row, min_score: float) -> Iterator[Row]:
        """The rows of the instances that a row holds, of which only those count that score enough."""
        if not self.scored:
            yield row
            return
        parts = [row]
        if self.layout.mask_field == "predictions":
            try:
                found = triples_of(row.rle)
            except UserError as fault:
                kind = f"rows whose {self.layout.column_of('predictions')} is not of the form label score mask …"
                self.problems.add(kind, f"{row.name} (row {row.line}): {fault}", row.name)
                return
            parts = [row._replace(class_text=label, score=score, rle=mask) for label, score, mask in found]
        nothing = row._replace(class_text="", rle="", attributes=None if row.attributes is None else "")
        for part in parts or [nothing]:
            try:
                yield part if not part.score or float(part.score) >= min_score else nothing
            except ValueError:
                self.problems.add("rows whose score is no number", f"{row.name} {part.score[:20]!r} (row {row.line})", row.name)

    def _file_name(self, name: str) -> str:
        return name if not self.suffix or name.lower().endswith(IMAGE_SUFFIXES) else f"{name}{self.suffix}"


def _header(reader: Any) -> list[str]:
    return [cell.strip() for cell in next(reader, [])]


@contextlib.contextmanager
def _opened(path: str, expected: str) -> Iterator[Any]:
    """A csv reader of the file, whose faults are UserErrors."""
    csv.field_size_limit(max(_LONGEST_FIELD, csv.field_size_limit()))
    with open(path, encoding=check_text(path), newline="") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        try:
            yield reader
        except csv.Error as fault:
            where = f"row {reader.line_num}: {fault}"
            raise UserError(f"{path}: not a CSV file ({where}). Expected the columns {expected}.") from None
        except UnicodeError:
            raise UserError(f"{path}: not a CSV file in UTF-8. {SAVE_AS_UTF8} Expected the columns {expected}.") from None
