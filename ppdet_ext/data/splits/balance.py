"""The table of class balance that tools/split.py prints."""

from collections.abc import Iterable, Sequence

import numpy as np

from ppdet_ext.structures import Record

_LONGEST = 32


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
    lines = _aligned([["", *titles, "all"], *cells])
    return "\n".join([*lines, _deviation(rows[: 2 + len(short)], titles, shares, "images"),
                      _deviation(rows[2 + len(short) :], titles, shares, "objects")])  # fmt: skip


def _cells(counts: np.ndarray) -> list[str]:
    total = int(counts.sum())
    return [*(f"{count} {100 * count / max(total, 1):5.1f} %" for count in counts), str(total)]


def _aligned(table: Sequence[Sequence[str]]) -> Iterable[str]:
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
