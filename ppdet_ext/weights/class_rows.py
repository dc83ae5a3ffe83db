"""Rows of classes in a model's heads, put in another order: what has the same names is the same class, wherever it stands."""

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError

logger = logging.getLogger("ppdet_ext")
Values = Mapping[str, Any]


def _plain(source: np.ndarray) -> np.ndarray:
    return source


def _background_first(source: np.ndarray) -> np.ndarray:
    return np.concatenate([[0], np.where(source < 0, -1, source + 1)])


def _background_last(source: np.ndarray) -> np.ndarray:
    return np.concatenate([source, [len(source)]])


def _boxes(source: np.ndarray) -> np.ndarray:
    return np.where(source < 0, -1, 4 * source)[:, None].repeat(4, 1) + np.where(source < 0, 0, 1)[:, None] * np.arange(4)


# Our names of tensors with a row for each class -> their layouts. Rows of another number are no classes: one box for all, or
# the labels of COCO-stuff's maps.
_HEADS: list[tuple[str, list[Callable[[np.ndarray], np.ndarray]]]] = [
    (r"roi_head\.box_heads\.\d+\.classify\.(weight|bias)", [_background_last]),
    (r"roi_head\.box_heads\.\d+\.regress\.(weight|bias)", [_boxes]),
    (r"roi_head\.mask_heads\.\d+\.logits\.(weight|bias)", [_plain]),
    (r"roi_head\.semantic_head\.logits\.(weight|bias)", [_background_first]),
    (r"segmentation_head\.0\.(weight|bias)", [_plain, _background_first]),
    (r"classification_head\.3\.(weight|bias)", [_plain]),
]
# A model without any of them is of an architecture whose classes are not known to stand where.
_KNOWN = re.compile(r"roi_head\.box_heads\.0\.classify\.bias|(segmentation_head\.0|classification_head\.3)\.bias")


def in_order(file: Sequence[str], wanted: Sequence[str]) -> bool:
    """Whether no name that both lists have stands at another place in the other one."""
    return all(file[at] == name for at, name in enumerate(wanted) if name in file) if len(file) == len(wanted) else False


def by_name(path: object, values: Values, file: Sequence[str], wanted: Sequence[str], start: Values | None = None) -> Values:
    """Put the rows of classes in the order of other names, and say so; what is not of classes stays the same object.

    Args:
        path: of the weights, for messages.
        values: tensors by our names, in our layouts.
        file: names of their classes.
        wanted: as many names.
        start: of the whole model, which rows of names that the file has not are taken from; all must be the file's where None.

    Raises:
        UserError: a name stands twice, or the model's heads are not known.
    """
    lists = f"{path}: {', '.join(file)}; the data set: {', '.join(wanted)}"
    known = any(_KNOWN.fullmatch(name) for name in (values if start is None else start))
    if known and not any(re.fullmatch(pattern, name) for name in values for pattern, _ in _HEADS):
        return values
    if not known or len({*file}) < len(file) or len({*wanted}) < len(wanted):
        why = "a name stands twice" if known else "this architecture does not tell where its classes stand"
        raise UserError(
            f"Classes in another order. {lists}. They cannot be matched by name, for {why}: give the categories of the data "
            "set the order that the classes of the weights have."
        )
    source = np.array([file.index(name) if name in file else -1 for name in wanted], np.int64)
    if fresh := [name for name in wanted if name not in file]:
        text = "Classes in another order, and other ones. %s. They are matched by name; left at the model's own start: %s"
        logger.warning(text, lists, ", ".join(fresh))
    else:
        logger.warning("Classes in another order. %s. They are matched by name, in the data set's order", lists)
    return {name: _moved(name, value, source, None if start is None else start[name]) for name, value in values.items()}


def _moved(name: str, value: np.ndarray, source: np.ndarray, start: Any) -> np.ndarray:
    layouts = next((layouts for pattern, layouts in _HEADS if re.fullmatch(pattern, name)), [])
    # Fully connected weights are (in, out), convolutions (out, in, h, w).
    axis = 1 if value.ndim == 2 else 0
    rows = (layout(source).reshape(-1) for layout in layouts)
    index = next((own for own in rows if len(own) == value.shape[axis]), None)
    if index is None:
        return value
    moved = np.take(value, np.maximum(index, 0), axis)
    if (index < 0).any():
        assert start is not None, "names that the file has not"
        here = np.expand_dims(index < 0, [other for other in range(value.ndim) if other != axis])
        moved = np.where(here, np.asarray(start), moved).astype(value.dtype)
    return moved
