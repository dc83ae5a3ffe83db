"""From the instances of one image to the rows of a submission."""

from collections.abc import Sequence
from dataclasses import dataclass

from ppdet_ext.structures import Rle

from .rle_csv import Format


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
        rows = [Row(_cells(form, form.empty, name=name), None, None, 0)]
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
            rle = union.to_kaggle() if union else ""
            rows.append(Row(_cells(form, {}, name=name, rle=rle, class_id=str(class_id)), class_id, union, len(masks)))
    return rows


def _instance_row(name: str, one: Instance, form: Format) -> Row:
    cells = _cells(
        form,
        {},
        name=name,
        rle=one.mask.to_kaggle(),
        class_id=str(one.class_id),
        score=f"{one.score:.6f}",
        attributes=",".join(map(str, sorted(one.attributes))),
    )
    return Row(cells, one.class_id, one.mask, 1)


def _cells(form: Format, given: dict[str, str], **values: str) -> tuple[str, ...]:
    """Given cells, and the others from the fields' values; a column with a field that has none is blank."""
    values = {"rle": "", **values}
    return tuple(
        given[column.header]
        if column.header in given
        else column.fill(values)
        if all(field in values for field in column.fields)
        else ""
        for column in form.columns
    )
