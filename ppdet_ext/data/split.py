"""Choosing images: split files, folds, and which of the images without defects stay. Nothing here draws at random."""

import csv
import hashlib
from collections import defaultdict
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError

PARTS = ("train", "val", "all")


def hashed(name: str, seed: int) -> bytes:
    """A place for `name` in an order that is arbitrary but the same everywhere, whatever other names there are."""
    return hashlib.sha256(f"{seed}:{name}".encode()).digest()


def read_split(path: str) -> list[str]:
    """Image names of a split file: one a line, or the first column (or the column ImageId) of a CSV with a header.

    Raises: UserError when the file is missing or names no image.
    """
    try:
        rows = [row for row in csv.reader(Path(path).read_text(encoding="utf-8-sig").splitlines()) if row]
    except (OSError, UnicodeDecodeError) as fault:
        raise UserError(f"split file {path} cannot be read ({fault}). It holds one image name a line.") from None
    column = 0
    header = [cell.strip() for cell in rows[0]] if rows else []
    if "ImageId" in header:
        column, rows = header.index("ImageId"), rows[1:]
    elif header and "." not in header[0]:
        rows = rows[1:]
    names = [row[column].strip() for row in rows if len(row) > column and row[column].strip()]
    if not names:
        raise UserError(f"split file {path} names no image. It holds one image name a line.")
    return list(dict.fromkeys(names))


def fold_of(names: list[str], strata: list[frozenset[int]], num_folds: int, seed: int) -> np.ndarray:
    """Fold number (n,) int64 of every image.

    Images with the same set of classes (`strata`) are dealt out in hashed order, each stratum going on where the one
    before stopped; so every fold gets its share of each class and folds differ by at most one image.
    """
    groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for position, classes in enumerate(strata):
        groups[tuple(sorted(classes))].append(position)
    folds = np.empty(len(names), np.int64)
    dealt = 0
    for classes in sorted(groups):
        for position in sorted(groups[classes], key=lambda i: hashed(names[i], seed)):
            folds[position] = dealt % num_folds
            dealt += 1
    return folds


def in_part(folds: np.ndarray, fold: int, part: str) -> np.ndarray:
    """(n,) bool: validation is the fold itself, training all others."""
    if part == "all":
        return np.ones(len(folds), bool)
    return (folds == fold) == (part == "val")


def keep_empty(names: list[str], num_filled: int, ratio: float, seed: int) -> set[str]:
    """Which images without objects stay, so that they are `ratio` of all; outside [0, 1) all of them stay, as in ppdet."""
    if not 0 <= ratio < 1:
        return set(names)
    count = min(len(names), int(num_filled * ratio / (1 - ratio)))
    return set(sorted(names, key=lambda name: hashed(name, seed))[:count])
