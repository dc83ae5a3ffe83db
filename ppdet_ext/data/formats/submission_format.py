"""`Format`: what a submission file looks like, from a template such as those in configs/submissions."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any, ClassVar

from ppdet_ext.errors import UserError, nearest

from .columns import FIELDS, Column
from .picture_names import PictureNames
from .rle_csv import RleCsv

ROWS, OVERLAPS, SUFFIXES = ("class", "instance", "image"), ("keep", "same_class", "all"), ("keep", "drop")
LABELS = ("ids", "names")
# What a submission's columns can hold.
_FIELDS = (
    "name", "rle", "class_id", "score", "attributes", "class_name", "height", "width", "predictions",
)  # fmt: skip
_LARGEST_SIDE = 1 << 15


@dataclass
class Format(RleCsv):
    """The CSV of a submission: beside what `RleCsv` says, of which size masks are, and what becomes of overlaps and of nothing.

    columns: the fields {name}, {rle} or {predictions}, {class_id} or {class_name}, {score}, {attributes}, {height} and {width},
        in order.
    rows: "instance", "class", or "image": all instances united, or with {predictions} one after the other.
    size: of the masks: "full" (the image's), [height, width], or {"longest": pixels of the longer side}, the shorter one
        in proportion, rounded down.
    empty: what becomes of that which was not found. "none": no row. "row" (with rows: class or image): a row with a blank mask
        for each class, or image. Header -> cell: one row for an image with nothing, of these cells, its name and a blank mask.
    overlaps: which instances of an image may not share pixels; the higher score keeps them.
    image_suffix: whether {name} keeps the file's suffix (".jpg").
    labels: what {predictions} call classes, "ids" or "names".
    file_pattern, file_id: how {name} is made of the paths of pictures in sub-folders, see `PictureNames`.
    source: name of the template, for messages.

    Raises: UserError for values that make no submission.
    """

    size: Any = "full"
    empty: Any = "none"
    overlaps: str = "keep"
    image_suffix: str = "keep"
    source: str = "format"
    labels: str = "ids"
    file_pattern: str = ""
    file_id: str = "{name}"

    KNOWN: ClassVar[Mapping[str, str]] = {name: FIELDS[name] for name in _FIELDS}

    def __post_init__(self) -> None:
        for key, value, allowed in (
            ("rows", self.rows, ROWS),
            ("overlaps", self.overlaps, OVERLAPS),
            ("image_suffix", self.image_suffix, SUFFIXES),
            ("labels", self.labels, LABELS),
        ):
            if value not in allowed:
                hint = nearest(value, allowed)
                raise UserError(f"{self.source}: {key} is one of {', '.join(allowed)}, not {value!r}.{hint}")
        self._check_columns()
        try:
            super().__post_init__()
            self._names = PictureNames(self.file_pattern, self.file_id)
        except UserError as fault:
            raise UserError(f"{self.source}: {fault}") from None
        self.size = self._size(self.size)
        self.empty = self._empty(self.empty)

    @classmethod
    def from_tree(cls, tree: Any, source: str) -> "Format":
        """From a template's mapping. Raises: UserError, for an unknown key with the nearest one."""
        keys = (
            *("columns", "rows", "size", "empty", "overlaps", "image_suffix", "base", "order", "relative"),
            *("blank", "labels", "file_pattern", "file_id"),
        )
        if not isinstance(tree, dict) or "columns" not in tree:
            raise UserError(f"{source}: a submission template needs columns: {{header: text, …}}; see docs/submissions.md.")
        for key in tree:
            if key not in keys:
                raise UserError(f"{source}: unknown key {key!r}.{nearest(key, keys)} There are {', '.join(keys)}.")
        return cls(**tree, source=source)

    def image_name(self, file_name: str) -> str:
        """How a submission calls an image."""
        made = self._names.made_of(file_name)
        if made is not None:
            return made
        return file_name if self.image_suffix == "keep" else PurePath(file_name).stem

    def class_texts(self, class_ids: Sequence[int], class_names: Sequence[str]) -> list[str]:
        """What classes are called, by label. Raises: UserError for a name that would not be read back."""
        named = self.class_field == "class_name" or (self.mask_field == "predictions" and self.labels == "names")
        texts = list(map(str, class_names if named else class_ids))
        for column in self.cells:
            for text in texts if "class_name" in column.fields else ():
                values = dict.fromkeys(column.fields, "a") | {"class_name": text}
                if column.read(column.fill(values)) != values:
                    raise UserError(f"{self.source}: {column.header} cannot hold the class {text!r}: {column.text}.")
        if self.mask_field == "predictions" and any(len(text.split()) != 1 for text in texts):
            raise UserError(f"{self.source}: predictions cannot hold a class with a blank in its name; use labels: ids.")
        return texts

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

    def _check_fields(self) -> None:
        for name in ("name", self.mask_field):
            if name not in self.fields:
                raise UserError(f"with rows: {self.rows} one of the columns must hold {{{name}}}.")
        if self.rows == "class" and self.class_field not in ("class_id", "class_name"):
            raise UserError("with rows: class one of the columns must hold {class_id} or {class_name}.")
        of_an_instance = ("score", "attributes", *(("class_id", "class_name") if self.rows == "image" else ()))
        for name in of_an_instance:
            if self.rows != "instance" and name in self.fields:
                raise UserError(f"{{{name}}} is an instance's; rows: {self.rows} has several instances in a row.")
        if self.mask_field == "predictions" and (self.rows != "image" or "rle" in self.fields):
            raise UserError("{predictions} are all instances of an image: rows: image, and no {rle}.")

    def _check_columns(self) -> None:
        if not isinstance(self.columns, Mapping) or not self.columns:
            raise UserError(f"{self.source}: columns is a mapping of header to text, not {self.columns!r}.")
        for header, text in self.columns.items():
            if isinstance(text, Mapping | list | None | bool):
                raise UserError(f'{self.source}: columns.{header} is a text in quotes, such as "{{name}}", not {text!r}.')

    def _size(self, size: Any) -> Any:
        if size == "full":
            return size
        sides = list(size.values()) if isinstance(size, Mapping) and list(size) == ["longest"] else size
        known = isinstance(sides, list | tuple) and len(sides) == (1 if isinstance(size, Mapping) else 2)
        if not known or any(type(side) is not int or not 0 < side <= _LARGEST_SIDE for side in sides):
            raise UserError(f"{self.source}: size is full, [height, width] or {{longest: pixels}}, not {size!r}.")
        return dict(size) if isinstance(size, Mapping) else tuple(sides)

    def _empty(self, empty: Any) -> str | dict[str, str]:
        if empty == "none" or (empty == "row" and self.rows in ("class", "image")):
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
        for column in self.cells:
            self._check_empty(column, given=column.header in cells)
        return cells

    def _check_empty(self, column: Column, given: bool) -> None:
        where, named = f"{self.source}: empty.{column.header}", "name" in column.fields
        if not {"class_id", "class_name"} & set(column.fields):
            if given and named:
                raise UserError(f"{where}: this column holds {{name}}, which tells the images apart. Leave it out of empty.")
        elif named:
            raise UserError(
                f"{where}: this column holds {{name}} and {{class_id}}, and nothing found has no class. Use empty: none"
                f"{' or row' if self.rows == 'class' else ''}."
            )
        elif not given:
            raise UserError(f"{self.source}: empty needs a cell for {column.header}: nothing found has no class.")
