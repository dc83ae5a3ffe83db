"""Masks out of pictures: one picture of a mask, and pictures of numbers or colours, one for each region."""

from __future__ import annotations

import numpy as np

from ppdet_ext.data.images.decode import image_size
from ppdet_ext.structures import Rle


def placed_mask(bitmap: np.ndarray, x: int, y: int, height: int, width: int) -> Rle:
    """A bitmap (h, w), not zero is set, with its corner at column x, row y of an image; what leaves the image is cut off."""
    top, left = max(0, -y), max(0, -x)
    inside = bitmap[top : max(top, height - y), left : max(left, width - x)] != 0
    if not inside.any():
        return Rle.empty(height, width)
    return Rle.from_bitmap(inside).place(y + top, x + left, height, width)


def set_pixels(picture: np.ndarray) -> np.ndarray:
    """Where a tool's picture of one mask is set, (h, w) bool: the opaque pixels where some are not, else those above 0.

    picture: (h, w), an index, grey, or bool; (h, w, 2) or (h, w, 4) with alpha last; (h, w, 3).
    """
    if picture.ndim == 2:
        return picture != 0
    if picture.shape[2] in (2, 4):
        alpha = picture[..., -1]
        if not alpha.all():
            return alpha != 0
        picture = picture[..., :-1]
    return np.asarray(picture.any(axis=2))


def colour_ids(picture: np.ndarray) -> np.ndarray:
    """One number for each colour, (h, w): an index or grey value as it is, RGB(A) as int32 R · 65536 + G · 256 + B.

    Pixels that are wholly transparent have 0. Indices are not widened, for the smaller a map is the faster is all else.
    """
    if picture.ndim == 2:
        return picture.view(np.uint8) if picture.dtype == bool else picture
    red, green, blue = (picture[..., channel if picture.shape[2] > 2 else 0].astype(np.int32) for channel in range(3))
    ids = (red << 16) | (green << 8) | blue
    if picture.shape[2] in (2, 4):
        ids[picture[..., -1] == 0] = 0
    return ids


def values_of(ids: np.ndarray) -> list[int]:
    """The values that occur in an index image (h, w), ascending."""
    if ids.dtype.itemsize == 1:
        # Counting takes a twentieth of the time of sorting.
        return np.flatnonzero(np.bincount(ids.ravel(), minlength=256)).tolist()
    return np.unique(ids).tolist()


def regions_of(ids: np.ndarray) -> list[tuple[int, Rle]]:
    """(value, mask of the pixels with it) for each value but 0 of an index image (h, w), ascending."""
    height, width = ids.shape
    flat = ids.T.ravel()
    if not flat.size:
        return []
    # Runs of the whole image, column by column, cost one pass however many values there are.
    starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
    lengths = np.diff(starts, append=flat.size)
    values = flat[starts]
    order = np.argsort(values, kind="stable")
    found, first = np.unique(values[order], return_index=True)
    return [
        (int(value), Rle.from_runs(starts[own], lengths[own], height, width))
        for value, own in zip(found, np.split(order, first[1:]))
        if value
    ]


def fits_picture(size: tuple[int, ...], file: str | None) -> bool:
    """Whether a mask's PNG has the size (h, w) of its picture, in either of EXIF's ways; true where there is no picture."""
    return file is None or size in (image_size(file), image_size(file, exif=False))
