"""The canvases that a Winograd convolution works on: many small regions side by side, or a strip of a large map.

On a canvas channels come last, so that a cell is one contiguous row.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from .threads import even_parts

STEP = 4  # output cells of a tile along each side
COLUMNS, ROWS = 4, 4  # regions of a canvas: about 200 tiles, so that its buffers stay in the cache
TILES = 200  # of a strip


@dataclass(frozen=True)
class Canvas:
    """A part of an (n, C, height, width) batch, cut into tiles.

    Attributes:
        overlaps: whether the borders of two canvases cover the same cells of the batch.
    """

    overlaps: ClassVar[bool]
    first: int
    last: int
    height: int
    width: int

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles down and across."""
        raise NotImplementedError

    def window(self, batch: np.ndarray, border: int) -> np.ndarray:
        """What the canvas and `border` cells around it cover of the batch, a view (k, C, h, w)."""
        raise NotImplementedError

    def pairs(self, canvas: np.ndarray, window: np.ndarray, border: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Views of like shape, channels last, of the canvas and of the window, which together cover the window."""
        raise NotImplementedError

    def blank(self, channels: int) -> np.ndarray:
        """Zeros for the tiles' cells, a border of 1, and the row and column behind the last regions."""
        down, across = self.tiles
        return np.zeros((STEP * down + 3, STEP * across + 3, channels), np.float32)

    def read(self, window: np.ndarray, border: int) -> np.ndarray:
        """The window on a canvas, beginning `border` cells outside."""
        canvas = self.blank(window.shape[1])
        for cells, mine in self.pairs(canvas, window, border):
            cells[...] = mine
        return canvas


class Regions(Canvas):
    """Regions [first, last) in rows of COLUMNS, with one empty row and column between them: the padding of both neighbours."""

    overlaps = False

    @property
    def rows(self) -> int:
        """Regions above each other."""
        return -(-(self.last - self.first) // COLUMNS)

    @property
    def tiles(self) -> tuple[int, int]:
        return -(-(self.rows * (self.height + 1) - 1) // STEP), -(-(COLUMNS * (self.width + 1) - 1) // STEP)

    def window(self, batch: np.ndarray, border: int) -> np.ndarray:
        return batch[self.first : self.last]

    def pairs(self, canvas: np.ndarray, window: np.ndarray, border: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        height, width = self.height + 1, self.width + 1
        block = canvas[border : border + self.rows * height, border : border + COLUMNS * width]
        for row, cells in enumerate(block.reshape(self.rows, height, COLUMNS, width, -1)):
            regions = window[row * COLUMNS : (row + 1) * COLUMNS]
            yield cells[:-1, : len(regions), :-1], regions.transpose(2, 0, 3, 1)


@dataclass(frozen=True)
class Strip(Canvas):
    """Tile rows [top, bottom) of the one image `first`."""

    overlaps = True
    top: int
    bottom: int

    @property
    def tiles(self) -> tuple[int, int]:
        return self.bottom - self.top, -(-self.width // STEP)

    def window(self, batch: np.ndarray, border: int) -> np.ndarray:
        return batch[self.first : self.last, :, max(STEP * self.top - border, 0) : STEP * self.bottom + border]

    def pairs(self, canvas: np.ndarray, window: np.ndarray, border: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        start = border if self.top == 0 else 0
        yield canvas[start : start + window.shape[2], border : border + self.width], window[0].transpose(1, 2, 0)


def canvases(shape: tuple[int, ...]) -> list[Canvas]:
    """An (n, C, height, width) batch in canvases, of a number that the threads can share evenly."""
    n, _, height, width = shape
    down, across = -(-height // STEP), -(-width // STEP)
    if down * across < TILES // 2:
        parts = even_parts(-(-n // COLUMNS), ROWS)
        return [Regions(COLUMNS * part.start, min(n, COLUMNS * part.stop), height, width) for part in parts]
    parts = even_parts(down, max(1, TILES // across))
    return [Strip(i, i + 1, height, width, part.start, part.stop) for i in range(n) for part in parts]
