"""`Format`: what a submission file looks like, from a template such as those in configs/submissions."""

from collections.abc import Iterable, Mapping
from pathlib import PurePath
from typing import Any

from ppdet_ext.errors import UserError, nearest

from .columns import Column

ROWS, OVERLAPS, SUFFIXES = ("class", "instance"), ("keep", "same_class", "all"), ("keep", "drop")
_LARGEST_SIDE = 1 << 15


class Format:
    """What the rows of a submission are and how they are written.

    Args:
        columns: header -> text with the fields {name} (image), {rle}, {class_id}, {score}, {attributes}, in order.
        rows: "instance": a row for each; "class": a row for each class of an image, its instances united.
        size: of the masks: "full" (the image's), [height, width], or {"longest": pixels of the longer side}, the shorter one
            in proportion, rounded down.
        empty: what becomes of that which was not found. "none": no row. "row" (with rows: class): a row with a blank mask for
            each class. Header -> cell: one row for an image with nothing, of these cells, its name and a blank mask.
        overlaps: which instances of an image may not share pixels; the higher score keeps them.
        image_suffix: whether {name} keeps the file's suffix (".jpg").
        source: name of the template, for messages.

    Raises:
        UserError: for values that make no submission.
    """

    def __init__(
        self,
        columns: Mapping[str, Any],
        rows: str = "instance",
        size: Any = "full",
        empty: Any = "none",
        overlaps: str = "keep",
        image_suffix: str = "keep",
        source: str = "format",
    ) -> None:
        self.source, self.rows, self.overlaps, self.image_suffix = source, rows, overlaps, image_suffix
        for key, value, allowed in (
            ("rows", rows, ROWS),
            ("overlaps", overlaps, OVERLAPS),
            ("image_suffix", image_suffix, SUFFIXES),
        ):
            if value not in allowed:
                raise UserError(f"{source}: {key} is one of {', '.join(allowed)}, not {value!r}.{nearest(value, allowed)}")
        self.columns = self._columns(columns)
        self.size = self._size(size)
        self.empty = self._empty(empty)

    @classmethod
    def from_tree(cls, tree: Any, source: str) -> "Format":
        """From a template's mapping. Raises: UserError, for an unknown key with the nearest one."""
        keys = ("columns", "rows", "size", "empty", "overlaps", "image_suffix")
        if not isinstance(tree, dict) or "columns" not in tree:
            raise UserError(f"{source}: a submission template needs columns: {{header: text, …}}; see docs/submissions.md.")
        for key in tree:
            if key not in keys:
                raise UserError(f"{source}: unknown key {key!r}.{nearest(key, keys)} There are {', '.join(keys)}.")
        return cls(**tree, source=source)

    @property
    def fields(self) -> set[str]:
        """All that the columns hold."""
        return {field for column in self.columns for field in column.fields}

    @property
    def header(self) -> list[str]:
        """Names of the columns."""
        return [column.header for column in self.columns]

    def image_name(self, file_name: str) -> str:
        """How a submission calls an image."""
        return file_name if self.image_suffix == "keep" else PurePath(file_name).stem

    def mask_size(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) of the masks of an image of that size."""
        if self.size == "full":
            return height, width
        if isinstance(self.size, tuple):
            return self.size
        longest = self.size["longest"]
        scaled = [max(1, side * longest // max(height, width, 1)) for side in (height, width)]
        return scaled[0], scaled[1]

    def check_names(self, file_names: Iterable[str]) -> None:
        """Raises: UserError for two images that a submission could not tell apart, or a name that no CSV can hold."""
        seen: dict[str, str] = {}
        for file_name in file_names:
            try:
                file_name.encode()
            except UnicodeEncodeError:
                raise UserError(
                    f"{file_name!a}: the picture's name is not UTF-8, which a submission is written in. Rename the picture."
                ) from None
            other = seen.setdefault(self.image_name(file_name), file_name)
            if other is not file_name:
                name = self.image_name(file_name)
                raise UserError(
                    f"{other} and {file_name}: two images of one name, {name!r}, which submissions tell them by. Rename one."
                )

    def _columns(self, columns: Mapping[str, Any]) -> list[Column]:
        if not isinstance(columns, Mapping) or not columns:
            raise UserError(f"{self.source}: columns is a mapping of header to text, not {columns!r}.")
        made = []
        for header, text in columns.items():
            if isinstance(text, Mapping | list | None | bool):
                raise UserError(f'{self.source}: columns.{header} is a text in quotes, such as "{{name}}", not {text!r}.')
            made.append(Column(str(header), str(text)))
        fields = {field for column in made for field in column.fields}
        needed = ("name", "rle", "class_id") if self.rows == "class" else ("name", "rle")
        for field in needed:
            if field not in fields:
                raise UserError(f"{self.source}: with rows: {self.rows} one of the columns must hold {{{field}}}.")
        for field in ("score", "attributes"):
            if self.rows == "class" and field in fields:
                raise UserError(f"{self.source}: {{{field}}} is an instance's; rows: class has several instances in a row.")
        return made

    def _size(self, size: Any) -> Any:
        if size == "full":
            return size
        sides = list(size.values()) if isinstance(size, Mapping) and list(size) == ["longest"] else size
        known = isinstance(sides, list | tuple) and len(sides) == (1 if isinstance(size, Mapping) else 2)
        if not known or any(type(side) is not int or not 0 < side <= _LARGEST_SIDE for side in sides):
            raise UserError(f"{self.source}: size is full, [height, width] or {{longest: pixels}}, not {size!r}.")
        return dict(size) if isinstance(size, Mapping) else tuple(sides)

    def _empty(self, empty: Any) -> str | dict[str, str]:
        if empty == "none" or (empty == "row" and self.rows == "class"):
            return empty
        if empty == "row":
            raise UserError(
                f"{self.source}: with rows: instance, an image with nothing has no class for a row; say which cells its row "
                "has, for example empty: {ClassId: 0}, or empty: none."
            )
        if not isinstance(empty, Mapping):
            raise UserError(f"{self.source}: empty is row, none or a mapping of header to cell, not {empty!r}.")
        for header, cell in empty.items():
            if str(header) not in self.header:
                raise UserError(f"{self.source}: empty: there is no column {header!r}.{nearest(header, self.header)}")
            if isinstance(cell, Mapping | list | bool):
                raise UserError(f"{self.source}: empty.{header} is a text or a number, not {cell!r}.")
        cells = {str(header): "" if cell is None else str(cell) for header, cell in empty.items()}
        for column in self.columns:
            self._check_empty(column, given=column.header in cells)
        return cells

    def _check_empty(self, column: Column, given: bool) -> None:
        where, named = f"{self.source}: empty.{column.header}", "name" in column.fields
        if "class_id" not in column.fields:
            if given and named:
                raise UserError(f"{where}: this column holds {{name}}, which tells the images apart. Leave it out of empty.")
        elif named:
            raise UserError(
                f"{where}: this column holds {{name}} and {{class_id}}, and nothing found has no class. Use empty: none"
                f"{' or row' if self.rows == 'class' else ''}."
            )
        elif not given:
            raise UserError(f"{self.source}: empty needs a cell for {column.header}: nothing found has no class.")
