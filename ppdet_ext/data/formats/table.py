"""The file of a submission: rows of the instances of each image, written one by one, read back and compared."""

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle

from .mask_texts import triple, triples_of
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
        class_id: None in the one row of an image, be it with nothing.
        mask: as written; None where the mask is blank. Of an image's predictions their union.
        instances: how many are united in it.
        parts: the masks of an image's predictions, in order.
        counts: instances of each class id, in the row of an image.
    """

    cells: tuple[str, ...]
    class_id: int | None
    mask: Rle | None
    instances: int
    parts: tuple[Rle, ...] = ()
    counts: Mapping[int, int] | None = None


def rows_of(
    name: str, detections: Detections, form: Format, class_ids: Sequence[int], class_names: Sequence[str] = ()
) -> list[Row]:
    """The rows of an image: instances by falling score, or classes in the order of `class_ids`, which are by label.

    RuntimeError for a label beyond them, which would be our fault.
    """
    if len(detections) and detections.labels.max() >= len(class_ids):
        raise RuntimeError(f"class number {detections.labels.max() + 1} of {name} is none of the data set's {len(class_ids)}")
    texts = form.class_texts(class_ids, class_names or list(map(str, class_ids)))
    shown = {"name": form.image_name(name), "height": str(detections.height), "width": str(detections.width)}
    ordered = detections.select(np.argsort(-detections.scores, kind="stable"))
    masks = _masks_of(ordered, form)
    # What others cover, or is too small for the masks' size, is not there.
    kept = [place for place, mask in enumerate(masks) if mask]
    if form.rows == "instance":
        rows = [_instance_row(shown, ordered, place, masks[place], form, class_ids, texts) for place in kept]
    elif form.rows == "class":
        rows = _class_rows(shown, ordered.labels[kept], [masks[place] for place in kept], form, class_ids, texts)
    else:
        chosen = ordered.select(np.array(kept, np.int64))
        rows = _image_rows(shown, chosen, [masks[place] for place in kept], form, class_ids, texts)
    if not kept and isinstance(form.empty, dict):
        rows = [Row(form.line(shown, form.empty), None, None, 0)]
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


def _image_rows(
    shown: Mapping[str, str],
    kept: Detections,
    masks: Sequence[Rle],
    form: Format,
    class_ids: Sequence[int],
    texts: Sequence[str],
) -> list[Row]:
    """The row of an image, blank where nothing was found and that gets a row."""
    if not masks and form.empty != "row":
        return []
    union = Rle.merge(masks) if masks else None
    labels = kept.labels.tolist()
    predictions = [triple(texts[label], score, mask) for label, score, mask in zip(labels, kept.scores.tolist(), masks)]
    text = "" if union is None or form.mask_field == "predictions" else form.text_of(union)
    cells = form.line({**shown, "rle": text, "predictions": " ".join(predictions)})
    parts = tuple(masks) if form.mask_field == "predictions" else ()
    return [Row(cells, None, union, len(masks), parts, Counter(class_ids[label] for label in labels))]


def _class_rows(
    shown: Mapping[str, str],
    labels: np.ndarray,
    masks: Sequence[Rle],
    form: Format,
    class_ids: Sequence[int],
    texts: Sequence[str],
) -> list[Row]:
    rows = []
    for label, class_id in enumerate(class_ids):
        own = [masks[i] for i in np.flatnonzero(labels == label)]
        if own or form.empty == "row":
            union = Rle.merge(own) if own else None
            rle = form.text_of(union) if union else ""
            cells = form.line({**shown, "rle": rle, str(form.class_field): texts[label]})
            rows.append(Row(cells, class_id, union, len(own)))
    return rows


def _instance_row(
    shown: Mapping[str, str],
    ordered: Detections,
    place: int,
    mask: Rle,
    form: Format,
    class_ids: Sequence[int],
    texts: Sequence[str],
) -> Row:
    label = ordered.labels[place]
    attributes = ordered.attributes[place] if ordered.attributes is not None else ()
    values = {**shown, "rle": form.text_of(mask), "score": f"{ordered.scores[place]:.6f}"}
    values |= {"class_id": texts[label], "class_name": texts[label]}
    cells = form.line({**values, "attributes": ",".join(map(str, sorted(attributes)))})
    return Row(cells, class_ids[label], mask, 1)


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
            if row.counts is not None:
                self.instances.update(row.counts)
            elif row.instances:
                self.instances[row.class_id] += row.instances
        self.lost += objects - kept


def write_table(
    path: Path,
    form: Format,
    images: Iterable[NamedDetections],
    class_ids: Sequence[int],
    class_names: Sequence[str] = (),
) -> Summary:
    """Write the submission of `images`, in their order, to `path`. OSError when it is not writable."""
    summary = Summary()
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(form.header)
        for name, detections in images:
            rows = rows_of(name, detections, form, class_ids, class_names)
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
            blank = form.blank if form.mask_field in column.fields else ()
            if cell not in ("", given.get(column.header), *blank):
                raise UserError(f"{where}: {column.header} is {cell[:60]!r}, not of the form {column.text!r}.")
            found = dict.fromkeys(column.fields, "")
        values |= found
    return values


def check_table(
    path: Path,
    form: Format,
    images: Iterable[NamedDetections],
    class_ids: Sequence[int],
    class_names: Sequence[str] = (),
) -> None:
    """Read the file back: every row in its place, every mask exact, of its size, apart where the format wants it.

    A failure is ours, not the user's: RuntimeError, not UserError.
    """
    try:
        found = read_table(path, form)
        for name, detections in images:
            _check_image(found, name, rows_of(name, detections, form, class_ids, class_names), form)
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
        if row.class_id is None and row.mask is None:
            if values != _fields(row.cells, form, name):
                raise RuntimeError(f"the row of {name}, where nothing was found, does not survive the round trip")
            continue
        if values.get("class_id", str(row.class_id)) != str(row.class_id):
            raise RuntimeError(f"class {values['class_id']} is where {name} should have class {row.class_id}")
        read = _masks_read(values[form.mask_field], row, form)
        if read != list(row.parts or ([] if row.mask is None else [row.mask])):
            raise RuntimeError(f"the mask of {name}, class {row.class_id}, does not survive the round trip")
        masks.setdefault(row.class_id if form.overlaps == "same_class" else None, []).extend(read)
    # What is one mask in the file has no overlaps, and predictions tell no class here.
    one = form.rows == "class" or form.mask_field == "predictions"
    if form.overlaps == "keep" or (one and form.overlaps == "same_class"):
        return
    for group in filter(None, masks.values()):
        if Rle.merge(group).area != sum(mask.area for mask in group):
            raise RuntimeError(f"masks of {name} overlap")


def _masks_read(text: str, row: Row, form: Format) -> list[Rle]:
    """The masks of a cell that should be the row's; of a blank one none, or what is there instead."""
    if form.is_blank(text) or row.mask is None:
        return [] if form.is_blank(text) else [Rle.empty(0, 0)]
    texts = [text] if form.mask_field == "rle" else [mask for _, _, mask in triples_of(text)]
    return [form.mask_of(one, *row.mask.size) for one in texts]
