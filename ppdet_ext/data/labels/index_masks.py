"""Masks of a picture of numbers: one for each number, in a time that does not depend on how many there are."""

from __future__ import annotations

import numpy as np

from ppdet_ext.structures import Rle


def masks_of_index(numbers: np.ndarray) -> dict[int, Rle]:
    """The pixels of each number in (h, w) of whole numbers, by number in ascending order."""
    height, width = numbers.shape
    if not numbers.size:
        return {}
    columns = numbers.ravel(order="F")
    starts = np.append(0, np.flatnonzero(columns[1:] != columns[:-1]) + 1)
    lengths = np.diff(starts, append=columns.size)
    values = columns[starts]
    order = np.argsort(values, kind="stable")
    found, first = np.unique(values[order], return_index=True)
    parts = np.split(order, first[1:])
    return {int(number): Rle.from_runs(starts[part], lengths[part], height, width) for number, part in zip(found, parts)}


def colours_as_numbers(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3 or 4) uint8 -> (h, w) int64 red + 256 green + 65536 blue, COCO panoptic's id; transparency is passed over.

    (h, w), a grey picture, is given back as int64.
    """
    if pixels.ndim == 2:
        return pixels.astype(np.int64)
    return pixels[..., :3].astype(np.int64) @ np.array([1, 256, 65536])
