"""The file of a submission: rows of the instances of each image, written one by one, read back and compared."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .submission_format import Format

# A large mask is longer than the 128 KiB that csv takes for a field.
_FIELD_LIMIT = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Instance:
    """One object of an image; `mask` is of the image's size, `attributes` are the data set's ids of them."""

    class_id: int
    score: float
    mask: Rle
    attributes: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class ImageResult:
    """What counts of an image: its file's name and instances, all of one size."""

    name: str
    instances: Sequence[Instance]


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


def rows_of(image: ImageResult, form: Format, class_ids: Sequence[int]) -> list[Row]:
    """The rows of an image: instances by falling score, or classes in the order of `class_ids`."""
    name = form.image_name(image.name)
    instances = sorted((_resized(one, form) for one in image.instances), key=lambda one: -one.score)
    if form.overlaps != "keep":
        instances = _apart(instances, same_class=form.overlaps == "same_class")
    found = [one for one in instances if one.mask]
    rows = (
        [_instance_row(name, one, form) for one in found]
        if form.rows == "instance"
        else _class_rows(name, found, form, class_ids)
    )
    if not found and isinstance(form.empty, dict):
        rows = [Row(form.line({"name": name}, form.empty), None, None, 0)]
    return rows


def _resized(one: Instance, form: Format) -> Instance:
    size = form.mask_size(*one.mask.size)
    if size == one.mask.size:
        return one
    return Instance(one.class_id, one.score, one.mask.resize(*size), one.attributes)


def _apart(instances: Sequence[Instance], same_class: bool) -> list[Instance]:
    """Each without the pixels of those before it, of all or of its class."""
    taken: dict[int | None, Rle] = {}
    apart = []
    for one in instances:
        group = one.class_id if same_class else None
        before = taken.get(group)
        mask = one.mask if before is None else one.mask.subtract(before)
        taken[group] = one.mask if before is None else before.union(one.mask)
        apart.append(Instance(one.class_id, one.score, mask, one.attributes))
    return apart


def _class_rows(name: str, found: Sequence[Instance], form: Format, class_ids: Sequence[int]) -> list[Row]:
    rows = []
    for class_id in class_ids:
        masks = [one.mask for one in found if one.class_id == class_id]
        if masks or form.empty == "row":
            union = Rle.merge(masks) if masks else None
            rle = form.text_of(union) if union else ""
            rows.append(Row(form.line({"name": name, "rle": rle, "class_id": str(class_id)}), class_id, union, len(masks)))
    return rows


def _instance_row(name: str, one: Instance, form: Format) -> Row:
    values = {"name": name, "rle": form.text_of(one.mask), "class_id": str(one.class_id), "score": f"{one.score:.6f}"}
    cells = form.line({**values, "attributes": ",".join(map(str, sorted(one.attributes)))})
    return Row(cells, one.class_id, one.mask, 1)


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

    def add(self, image: ImageResult, rows: Sequence[Row]) -> None:
        kept = sum(row.instances for row in rows)
        self.rows += len(rows)
        self.masks += sum(row.mask is not None for row in rows)
        self.images += 1
        self.empty += not kept
        for row in rows:
            if row.instances:
                self.instances[row.class_id] += row.instances
        self.lost += len(image.instances) - kept


def write_table(path: Path, form: Format, images: Iterable[ImageResult], class_ids: Sequence[int]) -> Summary:
    """Write the submission of `images`, in their order, to `path`. OSError when it is not writable."""
    summary = Summary()
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(form.header)
        for image in images:
            rows = rows_of(image, form, class_ids)
            writer.writerows(row.cells for row in rows)
            summary.add(image, rows)
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


def check_table(path: Path, form: Format, images: Iterable[ImageResult], class_ids: Sequence[int]) -> None:
    """Read the file back: every row in its place, every mask exact, of its size, apart where the format wants it.

    A failure is ours, not the user's: RuntimeError, not UserError.
    """
    try:
        found = read_table(path, form)
        for image in images:
            _check_image(found, image, form, class_ids)
        if (extra := next(found, None)) is not None:
            raise RuntimeError(f"{path} has a row too many: {extra['name']}")
    except UserError as error:
        raise RuntimeError(f"the submission does not read back: {error}") from error


def _check_image(found: Iterator[dict[str, str]], image: ImageResult, form: Format, class_ids: Sequence[int]) -> None:
    masks: dict[int | None, list[Rle]] = {}
    for row in rows_of(image, form, class_ids):
        values = next(found, None)
        if values is None or values["name"] != form.image_name(image.name):
            raise RuntimeError(f"{values and values['name']} is where the submission should have a row of {image.name}")
        if row.class_id is None:
            if values != _fields(row.cells, form, image.name):
                raise RuntimeError(f"the row of {image.name}, where nothing was found, does not survive the round trip")
            continue
        if values.get("class_id", str(row.class_id)) != str(row.class_id):
            raise RuntimeError(f"class {values['class_id']} is where {image.name} should have class {row.class_id}")
        if row.class_id not in class_ids:
            raise RuntimeError(f"class {row.class_id} of {image.name} is none of the data set's")
        mask = form.mask_of(values["rle"], *row.mask.size) if row.mask is not None else None
        if mask != row.mask or (mask is None and values["rle"]):
            raise RuntimeError(f"the mask of {image.name}, class {row.class_id}, does not survive the round trip")
        if mask is not None:
            masks.setdefault(row.class_id if form.overlaps == "same_class" else None, []).append(mask)
    if form.overlaps == "keep" or (form.rows == "class" and form.overlaps == "same_class"):
        return
    for group in masks.values():
        if Rle.merge(group).area != sum(mask.area for mask in group):
            raise RuntimeError(f"masks of {image.name} overlap")
