"""From one row per (image, class) to one mask per defect, and the compact arrays that keep the result on disk."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from ppdet_ext.data.formats.csv_rows import SteelRows
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

# Part of the cache key: raise it when splitting rows or the arrays below change.
VERSION = 2


@dataclass(slots=True)
class Instances:
    """All defects of a CSV as flat arrays; instance i belongs to row `row[i]` of `SteelRows`.

    row: (n,) int64. size: (n, 2) int64 height, width. area: (n,) int64 pixels. box: (n, 4) float32 x1 y1 x2 y2.
    counts: the masks' compressed strings end to end, (m,) uint8; string i is counts[end[i - 1] : end[i]].
    """

    row: np.ndarray
    size: np.ndarray
    area: np.ndarray
    box: np.ndarray
    counts: np.ndarray
    end: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.__slots__}

    def masks(self) -> list[Rle]:
        """The n masks."""
        blob = self.counts.tobytes()
        ends = self.end.tolist()
        starts = [0, *ends[:-1]]
        return [Rle(h, w, blob[a:b]) for (h, w), a, b in zip(self.size.tolist(), starts, ends)]


def split_rows(rows: SteelRows, pixels: Iterable[str], sizes: dict[str, tuple[int, int]], problems: Problems) -> Instances:
    """Split every row into its 8-connected components, in order of their first pixel.

    pixels: the run-length text of every row of the file. sizes: (height, width) by image name; rows of an image that
    is not there are passed over. Rows whose text is not a mask of that size are put into `problems` and left out.
    """
    row_of: list[int] = []
    masks: list[Rle] = []
    row_at = dict(zip(rows.position.tolist(), range(len(rows.position))))
    for position, text in enumerate(pixels):
        row = row_at.get(position)
        if row is None or not text.strip():
            continue
        name = rows.images[rows.image[row]]
        size = sizes.get(name)
        if size is None:
            continue
        try:
            mask = Rle.from_kaggle(text, *size, image=name, row=position + 2)
        except UserError as fault:
            problems.add(f"rows whose EncodedPixels are no mask of {size[0]}x{size[1]} (height x width)", str(fault), name)
            continue
        parts = mask.components(connectivity=8)
        masks.extend(parts)
        row_of.extend([row] * len(parts))
    return _pack(row_of, masks)


def _pack(row_of: list[int], masks: list[Rle]) -> Instances:
    counts = [mask.counts for mask in masks]
    return Instances(
        row=np.array(row_of, np.int64),
        size=np.array([mask.size for mask in masks], np.int64).reshape(-1, 2),
        area=np.array([mask.area for mask in masks], np.int64),
        box=np.array([mask.box for mask in masks], np.float32).reshape(-1, 4),
        counts=np.frombuffer(b"".join(counts), np.uint8),
        end=np.cumsum([len(text) for text in counts], dtype=np.int64),
    )
