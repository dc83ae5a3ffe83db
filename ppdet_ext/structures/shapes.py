"""How a mask is shaped: its parts, its holes, the length of its boundary."""

from typing import NamedTuple

import numpy as np

from .rle import Rle
from .rle_regions import label, neighbours, split_columns


class Shape(NamedTuple):
    """Of a mask. parts: 8-connected ones. holes: 4-connected ones that do not reach the border. boundary: length in pixels,
    along the pixels' edges, those at the image's border too."""

    parts: int
    holes: int
    boundary: int


def shape_of(mask: Rle) -> Shape:
    """The shape of a mask; zeros where no pixel is set. Its cost grows with the number of runs."""
    starts, lengths = mask.runs()
    if not starts.size:
        return Shape(0, 0, 0)
    ends = starts + lengths
    pieces = split_columns(np.stack([starts, ends], axis=1).ravel(), mask.height)
    parts, _ = label(pieces, mask.height, diagonal=True)
    # Bars that touch make a graph, of which each independent cycle goes around a hole.
    links = int(neighbours(pieces, mask.height, diagonal=True)[1].sum())
    holes = links - len(pieces.column) + parts
    # Each bar has an edge above and one below; beside each pixel there are two, unless its neighbour is set as well.
    sides = 2 * int(lengths.sum()) - 2 * _beside(starts, ends, mask.height)
    return Shape(parts, holes, 2 * len(pieces.column) + sides)


def _beside(starts: np.ndarray, ends: np.ndarray, height: int) -> int:
    """How many pixels of runs [start, end), (n,) each, have the pixel to their right set too."""
    edges = np.stack([starts, ends], axis=1).ravel()
    before = np.zeros(len(edges))
    before[1::2] = np.cumsum(ends - starts)
    before[2::2] = before[1:-1:2]
    # Pixels that are set before a position: a line between edges, up within runs, level between them.
    return int(np.rint((np.interp(ends + height, edges, before) - np.interp(starts + height, edges, before)).sum()))
