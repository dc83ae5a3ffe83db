"""Balance of the classes: a subset of images that has it, and the table of it that tools/split.py prints."""

from collections.abc import Iterable, Sequence

import numpy as np

from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Record

from .selection import hashed

_LONGEST = 32


def balanced_subset(names: Sequence[str], present: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(n,) bool: `count` images with an object, about as many of each class; it depends on the names, not on their order.

    Again and again an image of the class that has the fewest so far is taken, the next in hashed order. So images of several
    classes are as common as among all of a class; a class of which all images are taken stays behind the others.

    Args:
        names: of the images, each once.
        present: (n, classes + 1) bool, of `indicator`.

    Raises: UserError for more images than have an object.
    """
    present = present[:, :-1]
    filled = int(present.any(axis=1).sum())
    if not 0 < count <= filled:
        raise UserError(f"--balanced: {counted(count, 'images')} with an object are wanted, TrainDataset has {filled}.")
    order = np.array(sorted(range(len(names)), key=lambda i: hashed(names[i], seed)), np.int64)
    waiting = [iter(order[present[order, label]].tolist()) for label in range(present.shape[1])]
    chosen, found = np.zeros(len(names), bool), np.zeros(present.shape[1])
    for _ in range(count):
        image = None
        while image is None:
            label = int(found.argmin())
            image = next((i for i in waiting[label] if not chosen[i]), None)
            if image is None:
                found[label] = np.inf
        chosen[image] = True
        found += present[image]
    return chosen


def format_balance(
    records: Sequence[Record],
    class_names: Sequence[str],
    present: np.ndarray,
    side: np.ndarray,
    titles: Sequence[str],
    shares: np.ndarray,
) -> str:
    """Images, images without objects, and images and objects of each class on each side, with its share of them.

    Args:
        records: of all images.
        class_names: in the order of the labels.
        present: (n, classes + 1) bool, of `indicator`.
        side: (n,) int64 the side of each image.
        titles: of the sides.
        shares: (sides,) float64 the wanted share of each side.
    """
    images = np.zeros((len(titles), present.shape[1]), np.int64)
    np.add.at(images, side, present)
    objects = np.zeros((len(titles), len(class_names)), np.int64)
    for record, number in zip(records, side):
        np.add.at(objects[number], record.labels[~record.crowd], 1)
    sizes = np.bincount(side, minlength=len(titles))
    short = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in class_names]
    rows = [("images", sizes), ("images without objects", images[:, -1])]
    rows += [(f"images with {name}", images[:, label]) for label, name in enumerate(short)]
    rows += [(f"objects: {name}", objects[:, label]) for label, name in enumerate(short)]
    cells = [[title, *_cells(counts)] for title, counts in rows]
    lines = aligned([["", *titles, "all"], *cells])
    return "\n".join([*lines, _deviation(rows[: 2 + len(short)], titles, shares, "images"),
                      _deviation(rows[2 + len(short) :], titles, shares, "objects")])  # fmt: skip


def _cells(counts: np.ndarray) -> list[str]:
    total = int(counts.sum())
    return [*(f"{count} {100 * count / max(total, 1):5.1f} %" for count in counts), str(total)]


def aligned(table: Sequence[Sequence[str]]) -> Iterable[str]:
    """Lines of a table, its first column flush left, the others flush right."""
    widths = [max(map(len, column)) for column in zip(*table)]
    for first, *others in table:
        yield "  ".join([first.ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(others, widths[1:]))])


def _deviation(rows: Sequence[tuple[str, np.ndarray]], titles: Sequence[str], shares: np.ndarray, unit: str) -> str:
    """The row and side that are farthest from the wanted share, as a number."""
    found = np.array([counts for _, counts in rows])
    ideal = np.outer(found.sum(axis=1), shares)
    row, side = np.unravel_index(np.abs(found - ideal).argmax(), found.shape)
    return (
        f"largest deviation in {unit}: {abs(found[row, side] - ideal[row, side]):.1f} "
        f"({rows[row][0]}, {titles[side]}: {found[row, side]}, ideal {ideal[row, side]:.1f})"
    )
