"""Images of several parts that are one: what a model has learnt is then measured on what it has seen."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Hashable, Sequence

import numpy as np

from .objects import Data
from .pixels import Pixels
from .schema import Leak, Leaks, Odd

COPY = ".rf."  # Roboflow: name_jpg.rf.<hash>.jpg, one for each copy of a photograph
MOST_LEAKS, MOST_NAMES = 200, 10
ODD = 3


def find_leaks(data: Data, pixels: Pixels | None) -> Leaks:
    """Groups of images in several parts: the same file, the same picture, copies of one photograph, in this order."""
    records = data.images.records
    files = [os.path.abspath(record.file) for record in records]
    ways: list[tuple[str, Sequence[Hashable | None]]] = [("file", files)]
    if pixels is not None:
        ways.append(("picture", pixels.group.tolist()))
    ways.append(("photograph", [_photograph(record.name) for record in records]))
    leaks: list[Leak] = []
    affected: set[int] = set()
    for kind, keys in ways:
        for group in _across(data, keys):
            held_out = {i for i in group if data.images.part[i] != 0}
            # The same file is the same picture, too; each image is told once.
            if held_out <= affected:
                continue
            affected |= held_out
            leaks.append(Leak(kind, _named(data, group)))
    return Leaks(leaks[:MOST_LEAKS], len(leaks), len(affected), _twice(data, pixels), pixels is not None)


def _named(data: Data, group: Sequence[int]) -> list[tuple[str, str]]:
    """(part, name) of the first images of each part."""
    part = data.images.part
    shown = [i for number in range(len(data.parts)) for i in [i for i in group if part[i] == number][:MOST_NAMES]]
    return [(data.parts[part[i]].name, data.images.records[i].name) for i in shown]


def _photograph(name: str) -> str | None:
    base = os.path.basename(name)
    return base.partition(COPY)[0] if COPY in base else None


def _across(data: Data, keys: Sequence[Hashable | None]) -> list[list[int]]:
    """Indices of images that have one key, of training and of another part, in the order of the images.

    Only what the first part, which is learnt, shares with others is a leak: EvalDataset and TestDataset may be the same.
    """
    groups: dict[Hashable, list[int]] = defaultdict(list)
    for i, key in enumerate(keys):
        if key is not None:
            groups[key].append(i)
    part = data.images.part
    return [group for group in groups.values() if part[group[0]] == 0 and part[group[-1]] != 0]


def _twice(data: Data, pixels: Pixels | None) -> int:
    """Images that are the same picture as an earlier one of their part."""
    if pixels is None:
        return 0
    pairs = np.stack([data.images.part, pixels.group], axis=1)
    return len(pairs) - len(np.unique(pairs, axis=0)) if len(pairs) else 0


def odd_images(data: Data, pixels: Pixels) -> list[Odd]:
    """The darkest, brightest, flattest and blurriest images, each only where it is far from what is usual."""
    found = []
    for what, column, sign in (("darkest", 0, 1), ("brightest", 0, -1), ("flattest", 1, 1), ("blurriest", 2, 1)):
        values = pixels.values[:, column]
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < 8:
            continue
        low, middle, high = np.percentile(values[known], (25, 50, 75))
        for i in known[np.argsort(sign * values[known], kind="stable")[:ODD]].tolist():
            # Three times the spread beyond the middle, as of a box plot's far points.
            if sign * (middle - values[i]) > 3 * max(high - low, 1e-9):
                part = data.parts[data.images.part[i]].name
                found.append(Odd(what, part, data.images.records[i].name, float(values[i])))
    return found
