"""`RleCsv`: what a CSV of run-length encoded masks looks like, for data sets, pseudo-labels, drawn sets and submissions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .columns import CLASSES, FIELDS, MASKS, PARTS, Column
from .mask_texts import decode_oid, decode_polygons, encode_oid, triple

ROWS, ORDERS, REPEATED = ("instance", "class", "image"), ("columns", "rows"), ("union", "error")


@dataclass
class RleCsv:
    """The columns of a CSV, what its rows are, and how masks are written in it.

    columns: header -> text with fields, in order. {name} of the image, or {name_1} and others, see `joined_name`; {rle};
        {class_id}, or {class_name}, or {class_attributes} ("13_20_45": a class and its attributes); {attributes} ("20,45");
        {height}, {width} of the image; {score} of an instance. In place of {rle}: {predictions}, the triples "label score mask"
        of all instances of an image, masks as of `encode_oid`; {polygons}, in JSON lines whose keys are the columns.
        Without a class there is only one; without a size it is told elsewhere.
    rows: "instance": each is one. "class": all instances of a class in an image. "image": all instances of an image.
    base: number of the first pixel, 1 or 0.
    order: of the pixels, down the "columns" or along the "rows".
    relative: whether a run's start counts from the end of the run before.
    blank: cells that say that there is no mask, beside blank ones; the first of them is what is written.
    joined_name: how {name_1}, {name_2} and {name_3} of the columns make an image's name; by default with "_" between them.
    repeated: what several rows of one class in an image, or of one image, are where `rows` wants one: "union", or "error".

    Raises: UserError naming the key whose value makes no such CSV.
    """

    columns: Mapping[str, Any]
    rows: str = "instance"
    base: int = 1
    order: str = "columns"
    relative: bool = False
    blank: tuple[str, ...] = ()
    repeated: str = "union"
    joined_name: str = ""
    cells: tuple[Column, ...] = field(init=False, repr=False, compare=False)
    _mask_column: str = field(init=False, repr=False, compare=False)
    _joined: Column | None = field(init=False, repr=False, compare=False)

    # In a column with a name, the last separator stands before the class, be it a class that there is or not.
    KNOWN: ClassVar[Mapping[str, str]] = {**FIELDS, "class_id": r".*"}

    def __post_init__(self) -> None:
        # People say it either way.
        self.order = {"row": "rows", "column": "columns"}.get(self.order, self.order)
        for key, allowed in (("rows", ROWS), ("base", (0, 1)), ("order", ORDERS), ("repeated", REPEATED)):
            if getattr(self, key) not in allowed:
                raise UserError(f"{key}: {getattr(self, key)!r} is not one of {', '.join(map(str, allowed))}.")
        self.blank = tuple(str(text) for text in self.blank)
        self.cells = tuple(Column(str(header), str(text), self.KNOWN) for header, text in self.columns.items())
        self._check_fields()
        self._mask_column = self.column_of(self.mask_field)
        text = self.joined_name or "_".join(f"{{{part}}}" for part in self.name_parts)
        self._joined = Column("joined_name", text, {part: FIELDS[part] for part in self.name_parts}) if text else None

    def _check_fields(self) -> None:
        found = [name for column in self.cells for name in column.fields]
        if self.mask_field not in found:
            raise UserError(f"columns: one of them must hold {{{self.mask_field}}}.")
        if ("name" in found) == bool(self.name_parts):
            raise UserError("columns: one of them must hold {name}, or several its parts {name_1}, {name_2}, … alone.")
        if self.mask_field == "polygons" and self.name_parts:
            raise UserError("columns: beside {polygons} a key holds {name}.")
        if len(set(found)) < len(found) or len(set(CLASSES) & set(found)) > 1:
            raise UserError(f"columns: {', '.join(found)}; each field stands once, and one says the class.")
        if ("height" in found) != ("width" in found):
            raise UserError("columns: {height} and {width} go together, or the size is told elsewhere.")
        if self.rows == "class" and self.class_field is None:
            raise UserError(f"columns: with rows: class one of them must hold {{{'}, {'.join(CLASSES)}}}.")

    @cached_property
    def header(self) -> list[str]:
        """Names of the columns."""
        return [column.header for column in self.cells]

    @cached_property
    def fields(self) -> set[str]:
        """All that the columns hold."""
        return {name for column in self.cells for name in column.fields}

    @cached_property
    def name_parts(self) -> list[str]:
        """Fields that make up an image's name, where no column holds all of it."""
        return [part for part in PARTS if part in self.fields]

    def join(self, parts: Sequence[str]) -> str:
        """The name that the texts of `name_parts` make."""
        return self._joined.fill(dict(zip(self.name_parts, parts))) if self._joined is not None else ""

    def _parts_of(self, name: str) -> Mapping[str, str]:
        """A name as the fields that make it up. Raises: UserError where it is of another form."""
        if self._joined is None:
            return {"name": name}
        parts = self._joined.read(name)
        if parts is None:
            raise UserError(f"{name}: is not of the form {self._joined.text}, which the columns {', '.join(self.header)} need.")
        return parts

    @cached_property
    def mask_field(self) -> str:
        """The field that holds masks."""
        return next((name for name in MASKS if name in self.fields), "rle")

    @cached_property
    def class_field(self) -> str | None:
        """The field that says the class, if one does; such with several instances say theirs."""
        return next((name for name in (*CLASSES, "predictions", "polygons") if name in self.fields), None)

    @cached_property
    def has_attributes(self) -> bool:
        return not self.fields.isdisjoint(("attributes", "class_attributes"))

    def column_of(self, name: str) -> str:
        """The header of the column with a field."""
        return next(column.header for column in self.cells if name in column.fields)

    def is_blank(self, text: str) -> bool:
        """Whether a cell's text, without blanks around it, says that there is no mask; pandas writes "nan"."""
        return not text or text in self.blank or (len(text) == 3 and text.lower() == "nan")

    def mask_of(self, text: str, height: int, width: int, image: str | None = None, row: int | None = None) -> Rle:
        """The mask of a cell's text; blank text is an empty one. Raises: UserError, see `Rle.from_kaggle`."""
        if self.mask_field != "rle":
            return self._decoded(text, height, width, f"image {image}, row {row}" if image is not None else "mask")
        along = self.order == "rows"
        size = (width, height) if along else (height, width)
        mask = Rle.from_kaggle(
            text, *size, image=image, row=row, base=self.base, relative=self.relative, column=self._mask_column
        )
        return mask.transpose() if along else mask

    def _decoded(self, text: str, height: int, width: int, where: str) -> Rle:
        try:
            return {"predictions": decode_oid, "polygons": decode_polygons}[self.mask_field](text, height, width)
        except UserError as fault:
            raise UserError(f"{where}: {self._mask_column} has {fault}") from None

    def text_of(self, mask: Rle) -> str:
        """What is written for a mask. Raises: UserError for polygons, which are read only."""
        if self.mask_field == "predictions":
            return encode_oid(mask)
        if self.mask_field == "polygons":
            raise UserError(f"{self._mask_column}: polygons are not written. Describe another CSV to write.")
        mask = mask if self.order == "columns" else mask.transpose()
        return mask.to_kaggle(self.base, self.relative)

    def line(self, values: Mapping[str, str], given: Mapping[str, str] | None = None) -> tuple[str, ...]:
        """A row's cells: given ones, and others from the fields' values. A column with a field that has none is blank."""
        given, values = given or {}, {"rle": "", **values}
        values["rle"] = values["rle"] or (self.blank[0] if self.blank else "")
        return tuple(
            given[column.header]
            if column.header in given
            else column.fill(values)
            if all(name in values for name in column.fields)
            else ""
            for column in self.cells
        )

    def annotation(
        self, name: str, height: int, width: int, objects: Iterable[tuple[str, Rle]], classes: Sequence[str]
    ) -> list[tuple[str, ...]]:
        """The rows of an image: for each object, or the union of those of a class or of all.

        Where there are none, a row without class and mask, or without a mask for each class if names stand beside classes.

        objects: what the class field holds of each, in order, and its mask. classes: all that it can hold.
        """
        values = {**self._parts_of(name), "height": str(height), "width": str(width)}
        if self.mask_field == "predictions":
            return [self.line({**values, "predictions": " ".join(triple(text, 1, mask) for text, mask in objects)})]
        groups: dict[object, list[tuple[str, Rle]]] = {}
        for place, (text, mask) in enumerate(objects):
            key = {"instance": place, "class": text, "image": None}[self.rows]
            groups.setdefault(key, []).append((text, mask))
        rows = []
        for members in groups.values():
            union = Rle.merge([mask for _, mask in members]) if len(members) > 1 else members[0][1]
            rows.append(self.line({**values, "rle": self.text_of(union), self.class_field or "": members[0][0]}))
        if not rows and any({"name", self.class_field} <= set(column.fields) for column in self.cells):
            return [self.line({**values, self.class_field or "": text}) for text in classes]
        return rows or [self.line(values)]


_EARLY = {"ImageId_ClassId": "{name}_{class_id}", "EncodedPixels": "{rle}"}
_FASHION = {"ImageId": "{name}", "EncodedPixels": "{rle}", "Height": "{height}", "Width": "{width}"}
# The layouts of a competition; the first is the one to write. Read is the one with the most columns that a file has.
# Where Severstal's columns have several rows of a class, people have a row for each defect: a union would join what touches.
SEVERSTAL = (
    RleCsv({"ImageId": "{name}", "ClassId": "{class_id}", "EncodedPixels": "{rle}"}, rows="class", repeated="error"),
    RleCsv(_EARLY, rows="class", repeated="error"),
)
IMATERIALIST = (
    RleCsv({**_FASHION, "ClassId": "{class_attributes}"}),
    RleCsv({**_FASHION, "ClassId": "{class_id}", "AttributesIds": "{attributes}"}),
)
