"""The file of a submission: rows of the instances of each image, written one by one, read back and compared."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle

from .submission_format import Format

# A large mask is longer than the 128 KiB that csv takes for a field.
_FIELD_LIMIT = 2**31 - 1


# An image's file name, and what counts of it: with masks, best or not first.
NamedDetections = tuple[str, Detections]


@dataclass(frozen=True, slots=True)
class Row:
    """A line of the file.

    Attributes:
        cells: in the columns' order.
        class_id: None in the one row of an image with nothing.
        mask: as written; None where the mask is blank.
        instances: how many are united in it.
    """

    cells: tuple[str, ...]
    class_id: int | None
    mask: Rle | None
    instances: int


def rows_of(name: str, detections: Detections, form: Format, class_ids: Sequence[int]) -> list[Row]:
    """The rows of an image: instances by falling score, or classes in the order of `class_ids`, which are by label.

    RuntimeError for a label beyond them, which would be our fault.
    """
    if len(detections) and detections.labels.max() >= len(class_ids):
        raise RuntimeError(f"class number {detections.labels.max() + 1} of {name} is none of the data set's {len(class_ids)}")
    shown = form.image_name(name)
    ordered = detections.select(np.argsort(-detections.scores, kind="stable"))
    masks = _masks_of(ordered, form)
    # What others cover, or is too small for the masks' size, is not there.
    kept = [place for place, mask in enumerate(masks) if mask]
    if form.rows == "instance":
        rows = [_instance_row(shown, ordered, place, masks[place], form, class_ids) for place in kept]
    else:
        rows = _class_rows(shown, ordered.labels[kept], [masks[place] for place in kept], form, class_ids)
    if not kept and isinstance(form.empty, dict):
        rows = [Row(form.line({"name": shown}, form.empty), None, None, 0)]
    return rows


def _masks_of(ordered: Detections, form: Format) -> list[Rle]:
    """The masks at the format's size; where they may not overlap each without the pixels of those before it (of its class)."""
    size = form.mask_size(ordered.height, ordered.width)
    masks = [mask if mask.size == size else mask.resize(*size) for mask in ordered.masks or []]
    if form.overlaps == "keep":
        return masks
    taken: dict[int, Rle] = {}
    apart = []
    for label, mask in zip(ordered.labels.tolist(), masks):
        group = label if form.overlaps == "same_class" else 0
        before = taken.get(group)
        apart.append(mask if before is None else mask.subtract(before))
        taken[group] = mask if before is None else before.union(mask)
    return apart


def _class_rows(name: str, labels: np.ndarray, masks: Sequence[Rle], form: Format, class_ids: Sequence[int]) -> list[Row]:
    rows = []
    for label, class_id in enumerate(class_ids):
        own = [masks[i] for i in np.flatnonzero(labels == label)]
        if own or form.empty == "row":
            union = Rle.merge(own) if own else None
            rle = form.text_of(union) if union else ""
            rows.append(Row(form.line({"name": name, "rle": rle, "class_id": str(class_id)}), class_id, union, len(own)))
    return rows


def _instance_row(name: str, ordered: Detections, place: int, mask: Rle, form: Format, class_ids: Sequence[int]) -> Row:
    class_id = class_ids[ordered.labels[place]]
    attributes = ordered.attributes[place] if ordered.attributes is not None else ()
    values = {"name": name, "rle": form.text_of(mask), "class_id": str(class_id), "score": f"{ordered.scores[place]:.6f}"}
    cells = form.line({**values, "attributes": ",".join(map(str, sorted(attributes)))})
    return Row(cells, class_id, mask, 1)


@dataclass
class Summary:
    """What a submission holds.

    Attributes:
        rows: without the header.
        masks: rows whose mask is not blank.
        images, empty: all images, and those with nothing.
        instances: of each class id.
        lost: instances of which no pixel was left, being covered by others or too small for the masks' size.
    """

    rows: int = 0
    masks: int = 0
    images: int = 0
    empty: int = 0
    instances: Counter = field(default_factory=Counter)
    lost: int = 0

    def add(self, objects: int, rows: Sequence[Row]) -> None:
        """Count an image with that many objects, whose rows these are."""
        kept = sum(row.instances for row in rows)
        self.rows += len(rows)
        self.masks += sum(row.mask is not None for row in rows)
        self.images += 1
        self.empty += not kept
        for row in rows:
            if row.instances:
                self.instances[row.class_id] += row.instances
        self.lost += objects - kept


def write_table(path: Path, form: Format, images: Iterable[NamedDetections], class_ids: Sequence[int]) -> Summary:
    """Write the submission of `images`, in their order, to `path`. OSError when it is not writable."""
    summary = Summary()
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(form.header)
        for name, detections in images:
            rows = rows_of(name, detections, form, class_ids)
            writer.writerows(row.cells for row in rows)
            summary.add(len(detections), rows)
    return summary


def read_table(path: str | Path, form: Format) -> Iterator[dict[str, str]]:
    """The fields ("name", "rle", "class_id", …) of each row of a submission, as text.

    Raises:
        UserError: unreadable, another header, or a row that is not of this format.
    """
    try:
        csv.field_size_limit(_FIELD_LIMIT)
        with Path(path).open(encoding="utf-8", newline="") as stream:
            lines = csv.reader(stream)
            header = next(lines, [])
            if header != form.header:
                raise UserError(f"{path}: the columns are {', '.join(header)}, not {', '.join(form.header)}.")
            for number, cells in enumerate(lines, 2):
                yield _fields(cells, form, f"{path}, row {number}")
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _fields(cells: Sequence[str], form: Format, where: str) -> dict[str, str]:
    if len(cells) != len(form.cells):
        raise UserError(f"{where}: {len(cells)} cells, not {len(form.cells)}.")
    given = form.empty if isinstance(form.empty, dict) else {}
    values: dict[str, str] = {}
    for cell, column in zip(cells, form.cells):
        found = column.read(cell)
        if found is None:
            if cell not in ("", given.get(column.header)):
                raise UserError(f"{where}: {column.header} is {cell[:60]!r}, not of the form {column.text!r}.")
            found = dict.fromkeys(column.fields, "")
        values |= found
    return values


def check_table(path: Path, form: Format, images: Iterable[NamedDetections], class_ids: Sequence[int]) -> None:
    """Read the file back: every row in its place, every mask exact, of its size, apart where the format wants it.

    A failure is ours, not the user's: RuntimeError, not UserError.
    """
    try:
        found = read_table(path, form)
        for name, detections in images:
            _check_image(found, name, rows_of(name, detections, form, class_ids), form)
        if (extra := next(found, None)) is not None:
            raise RuntimeError(f"{path} has a row too many: {extra['name']}")
    except UserError as error:
        raise RuntimeError(f"the submission does not read back: {error}") from error


def _check_image(found: Iterator[dict[str, str]], name: str, rows: Sequence[Row], form: Format) -> None:
    masks: dict[int | None, list[Rle]] = {}
    for row in rows:
        values = next(found, None)
        if values is None or values["name"] != form.image_name(name):
            raise RuntimeError(f"{values and values['name']} is where the submission should have a row of {name}")
        if row.class_id is None:
            if values != _fields(row.cells, form, name):
                raise RuntimeError(f"the row of {name}, where nothing was found, does not survive the round trip")
            continue
        if values.get("class_id", str(row.class_id)) != str(row.class_id):
            raise RuntimeError(f"class {values['class_id']} is where {name} should have class {row.class_id}")
        mask = form.mask_of(values["rle"], *row.mask.size) if row.mask is not None else None
        if mask != row.mask or (mask is None and values["rle"]):
            raise RuntimeError(f"the mask of {name}, class {row.class_id}, does not survive the round trip")
        if mask is not None:
            masks.setdefault(row.class_id if form.overlaps == "same_class" else None, []).append(mask)
    if form.overlaps == "keep" or (form.rows == "class" and form.overlaps == "same_class"):
        return
    for group in masks.values():
        if Rle.merge(group).area != sum(mask.area for mask in group):
            raise RuntimeError(f"masks of {name} overlap")
