"""Geometry and topology on runs: cost grows with the number of runs, never with the number of pixels.

A mask is cut into `Pieces`: its runs, split at the column borders, each a vertical bar in one column.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_STRIP = 1 << 24  # pixels


class Pieces(NamedTuple):
    """Vertical bars by column, then row; bars of one column neither overlap nor touch. Arrays (n,) int64."""

    column: np.ndarray
    top: np.ndarray
    bottom: np.ndarray  # exclusive

    def select(self, index: np.ndarray) -> "Pieces":
        """The pieces a boolean mask or an index array names, in that order."""
        return Pieces(self.column[index], self.top[index], self.bottom[index])

    def edges(self, height: int) -> np.ndarray:
        """Positions (2n,) where bars begin and end in turn; equal where two meet at a column border."""
        edges = np.empty(2 * self.column.size, np.int64)
        offset = self.column * height
        edges[0::2] = offset + self.top
        edges[1::2] = offset + self.bottom
        return edges


def demand_inside(size: Sequence[int], y: int, x: int, height: int, width: int) -> None:
    """ValueError unless so many rows and columns fit into (height, width) from row y, column x on."""
    rows, columns = size
    if not (0 <= y <= height - rows and 0 <= x <= width - columns):
        raise ValueError(f"{rows}x{columns} at row {y}, column {x} leaves {height}x{width}")


def window_edges(bitmap: np.ndarray, y: int, x: int, height: int) -> np.ndarray:
    """Where bars begin and end, as of `Pieces.edges`, of a bitmap (h, w) at row y, column x; fastest in Fortran order."""
    rows, columns = bitmap.shape
    # An empty pixel below each column, and one before all: runs begin and end within a column.
    pixels = np.zeros(columns * (rows + 1) + 1, bool)
    pixels[1:].reshape(columns, rows + 1)[:, :rows] = bitmap.T
    column, row = np.divmod(np.flatnonzero(pixels[1:] != pixels[:-1]), rows + 1)
    return (column + x) * height + row + y


def split_columns(edges: np.ndarray, height: int) -> Pieces:
    """Edges (2n,) of runs in a mask of that height -> the runs cut at column borders."""
    starts, ends = edges[0::2], edges[1::2]
    first = starts // max(height, 1)
    last = (ends - 1) // max(height, 1)
    if np.array_equal(first, last):
        offset = first * height
        return Pieces(first, starts - offset, ends - offset)
    parts = last - first + 1
    column = np.repeat(first, parts) + _ramp(parts)
    offset = column * height
    top = np.maximum(np.repeat(starts, parts) - offset, 0)
    bottom = np.minimum(np.repeat(ends, parts) - offset, height)
    return Pieces(column, top, bottom)


def label(pieces: Pieces, height: int, diagonal: bool) -> tuple[int, np.ndarray]:
    """Connected components of the pieces: (how many, label (n,) of each), labels in order of the first piece.

    With `diagonal`, corners touch too (8-connectivity); otherwise only sides do (4-connectivity).
    """
    n = pieces.column.size
    if n == 0:
        return 0, np.zeros(0, np.int32)
    low, links = neighbours(pieces, height, diagonal)
    indptr = np.zeros(n + 1, np.int32)
    np.cumsum(links, out=indptr[1:])
    neighbour = (np.repeat(low, links) + _ramp(links)).astype(np.int32)
    return _connected(indptr, neighbour)


def neighbours(pieces: Pieces, height: int, diagonal: bool) -> tuple[np.ndarray, np.ndarray]:
    """The first piece of the next column that touches each piece, and how many do, (n,) int64 each; as of `label`."""
    # A pitch of height + 2 keeps a bar's reach of one pixel from leaking into the column after the next.
    pitch = height + 2
    offset = pieces.column * pitch
    tops, bottoms = offset + pieces.top, offset + pieces.bottom
    reach = int(diagonal)
    low = np.searchsorted(bottoms, tops + (pitch - reach), side="right")
    high = np.searchsorted(tops, bottoms + (pitch + reach), side="left")
    return low, np.maximum(high - low, 0)


def _connected(indptr: np.ndarray, neighbour: np.ndarray) -> tuple[int, np.ndarray]:
    """Components of a graph of n nodes: (how many, label (n,) of each).

    Those next to node i are neighbour[indptr[i] : indptr[i + 1]].
    """
    try:
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import connected_components
    except ImportError:
        # The runtime for exported models does without those 110 MB.
        return connected_by_roots(indptr, neighbour)
    n = len(indptr) - 1
    graph = csr_matrix((np.ones(neighbour.size), neighbour, indptr), shape=(n, n))
    return connected_components(graph, directed=False)


def connected_by_roots(indptr: np.ndarray, neighbour: np.ndarray) -> tuple[int, np.ndarray]:
    """As scipy's `connected_components`, undirected: each node's root is the first node that can be reached from it."""
    n = len(indptr) - 1
    node = np.repeat(np.arange(n), np.diff(indptr))
    root = np.arange(n)
    while True:
        a, b = root[node], root[neighbour]
        apart = a != b
        if not apart.any():
            break
        np.minimum.at(root, np.maximum(a[apart], b[apart]), np.minimum(a[apart], b[apart]))
        # Until every root is its own: the chains that came together are as short as can be.
        while (shorter := root[root]).tobytes() != root.tobytes():
            root = shorter
    _, labels = np.unique(root, return_inverse=True)
    return int(labels.max()) + 1, labels.astype(np.int32)


def outside(pieces: Pieces, height: int, width: int) -> tuple[np.ndarray, int]:
    """Which background pieces are in a region that reaches the border (n,) bool; how many regions do not.

    Background is 4-connected, the complement of 8-connected foreground.
    """
    count, labels = label(pieces, height, diagonal=False)
    at_border = (pieces.column == 0) | (pieces.column == width - 1) | (pieces.top == 0) | (pieces.bottom == height)
    reaches = np.zeros(count, bool)
    reaches[labels[at_border]] = True
    return reaches[labels], int(count - reaches.sum())


def crop(pieces: Pieces, y1: int, x1: int, y2: int, x2: int) -> Pieces:
    """The part of the pieces inside rows [y1, y2) and columns [x1, x2), counted from that corner."""
    top = np.maximum(pieces.top, y1) - y1
    bottom = np.minimum(pieces.bottom, y2) - y1
    inside = (pieces.column >= x1) & (pieces.column < x2) & (top < bottom)
    return Pieces(pieces.column[inside] - x1, top[inside], bottom[inside])


def strips(x1: int, x2: int, height: int) -> range:
    """Where strips of columns begin, of which each can be decoded in little memory; at least one."""
    return range(x1, max(x2, x1 + 1), max(1, _STRIP // max(1, height)))


def stack(parts: Sequence[Pieces], tops: Sequence[int], left: int) -> Pieces:
    """The pieces of masks that lie below each other, each from row `top` and all from column `left` of a larger one."""
    column = np.concatenate([part.column + left for part in parts])
    top = np.concatenate([part.top + y for part, y in zip(parts, tops)])
    bottom = np.concatenate([part.bottom + y for part, y in zip(parts, tops)])
    return Pieces(column, top, bottom).select(np.lexsort((top, column)))


def flip_horizontal(pieces: Pieces, width: int) -> Pieces:
    """Mirror left and right."""
    column = width - 1 - pieces.column
    order = np.argsort(column, kind="stable")
    return Pieces(column[order], pieces.top[order], pieces.bottom[order])


def flip_vertical(pieces: Pieces, height: int) -> Pieces:
    """Mirror top and bottom."""
    # Reversing everything orders bars inside a column; the stable sort then brings the columns back.
    column = pieces.column[::-1]
    order = np.argsort(column, kind="stable")
    return Pieces(column[order], (height - pieces.bottom[::-1])[order], (height - pieces.top[::-1])[order])


def resize(pieces: Pieces, old: tuple[int, int], new: tuple[int, int]) -> Pieces:
    """Nearest-neighbour resize from size `old` to `new` (h, w), pixel for pixel as cv2.INTER_NEAREST."""
    source_y, source_x = (nearest_source(before, after) for before, after in zip(old, new))
    top = np.searchsorted(source_y, pieces.top)
    bottom = np.searchsorted(source_y, pieces.bottom)
    first = np.searchsorted(source_x, pieces.column)
    times = np.searchsorted(source_x, pieces.column, side="right") - first
    times[top >= bottom] = 0
    column = np.repeat(first, times) + _ramp(times)
    top, bottom = np.repeat(top, times), np.repeat(bottom, times)
    order = np.argsort(column, kind="stable")
    return Pieces(column[order], top[order], bottom[order])


def nearest_source(old: int, new: int) -> np.ndarray:
    """Which of `old` samples each of `new` takes, (new,) int64, by the arithmetic of cv2's INTER_NEAREST."""
    step = 1.0 / (new / old) if new and old else 0.0
    return np.minimum(np.floor(np.arange(new) * step).astype(np.int64), old - 1)


def _ramp(lengths: np.ndarray) -> np.ndarray:
    """[2, 3] -> [0, 1, 0, 1, 2]."""
    ends = np.cumsum(lengths)
    total = int(ends[-1]) if ends.size else 0
    return np.arange(total) - np.repeat(ends - lengths, lengths)
