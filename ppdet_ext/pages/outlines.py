"""Masks as SVG paths: layers over a picture that a viewer turns on and off without a second picture."""

import cv2
import numpy as np

from ppdet_ext.structures import Rle, rle_regions
from ppdet_ext.structures.rle_regions import Pieces


def path_of(mask: Rle, tolerance: float = 0.0) -> str:
    """Path data along the pixel edges, in the mask's pixels; holes are cut out by `fill-rule: evenodd`.

    Filled so, it covers the mask's pixels exactly. tolerance: pixels that the outline may deviate in return for a shorter
    text (Douglas and Peucker, 1973); parts that then have no area are drawn as they are. "" of an empty mask.
    """
    return "".join(_written(loop, tolerance) for loop in _loops(mask))


def _loops(mask: Rle) -> list[np.ndarray]:
    """Corners (n, 2) int64 x, y of each part's outer boundary, followed by those of its holes; the mask is on the left.

    Parts are 8-connected, holes 4-connected. A loop begins at its first corner by rows, and loops go from the last to the
    first, as OpenCV's findContours has them. It costs what the number of runs does, not that of pixels.
    """
    starts, lengths = mask.runs()
    bars = rle_regions.split_columns(np.stack([starts, starts + lengths], axis=1).ravel(), mask.height)
    corners, after, falls = _corners(bars, mask.height + 1)
    # Edges are vertical and horizontal in turn, so that every other corner finds a loop.
    second = after[after].tolist()
    left = [True] * len(second)
    outers: list[np.ndarray] = []
    holes: list[np.ndarray] = []
    for first in np.flatnonzero(falls).tolist():
        if not left[first]:
            continue
        places, place = [], first
        while left[place]:
            left[place] = False
            places.append(place)
            place = second[place]
        loop = np.stack([places, after[places]], axis=1).ravel()
        if corners[loop[-1], 1] == corners[first, 1] and corners[loop[-1], 0] < corners[first, 0]:
            # Along the upper edge of a hole one comes from its first corner.
            holes.append(corners[np.roll(loop, 1)])
        else:
            outers.append(corners[loop])
    return _ordered(outers[::-1], holes[::-1], bars, mask.height)


def _corners(bars: Pieces, stride: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where a mask's boundary turns, by rows.

    Returns: corners (n, 2) int64 x, y; place (n,) of the next one, with the mask to the left; whether it lies above or below.

    A bar's ends are corners on the lines left and right of its column, but where the bar beside it ends alike.
    stride: more than the mask's height.
    """
    first = bars.column * stride
    n = len(first)
    # Tops before bottoms: where two bars touch in a corner, the boundary turns so that it holds them together.
    ends = [first + bars.top, first + stride + bars.top, first + bars.bottom, first + stride + bars.bottom]
    lines: np.ndarray = np.concatenate(ends)
    side: np.ndarray = np.arange(4 * n) // max(n, 1)  # odd: on the line right of the bar; above 1: a bottom
    by_column = np.argsort(lines, kind="stable")
    lines, side = lines[by_column], side[by_column]
    other = (lines[1:] != lines[:-1]) | (side[1:] // 2 != side[:-1] // 2)
    kept = np.ones(4 * n, bool)
    kept[1:] &= other
    kept[:-1] &= other
    lines, side = lines[kept], side[kept]
    x, y = np.divmod(lines, stride)
    by_row = np.argsort((y * (int(x.max(initial=0)) + 1) + x) * 2 - side % 2)
    # Along each line two and two corners are the ends of an edge.
    beside, place, below = np.arange(len(by_row)) ^ 1, np.empty_like(by_row), np.empty_like(by_row)
    place[by_row] = beside ^ 1
    below[place] = place[beside]
    side = side[by_row]
    vertical = (side == 0) | (side == 3)
    return np.stack([x, y], axis=1)[by_row], np.where(vertical, below, beside), vertical


def _ordered(outers: list[np.ndarray], holes: list[np.ndarray], bars: Pieces, height: int) -> list[np.ndarray]:
    """Each outer loop, then the holes of its part."""
    if len(outers) < 2 or not holes:
        return outers + holes
    _, labels = rle_regions.label(bars, height, diagonal=True)
    keys = bars.column * (height + 1) + bars.top

    def part(x: int, y: int) -> int:
        return int(labels[np.searchsorted(keys, x * (height + 1) + y, side="right") - 1])

    own: dict[int, list[np.ndarray]] = {}
    for loop in holes:
        # The pixel left of a hole's first one.
        own.setdefault(part(loop[0, 0] - 1, loop[0, 1]), []).append(loop)
    return [loop for outer in outers for loop in (outer, *own.get(part(*outer[0]), []))]


def _written(loop: np.ndarray, tolerance: float) -> str:
    """A closed loop in relative steps: h and v along an axis, l elsewhere; whole numbers, which keeps it short."""
    if tolerance > 0 and len(loop) > 4:
        fewer = cv2.approxPolyDP(loop.astype(np.int32).reshape(-1, 1, 2), tolerance, True).reshape(-1, 2)
        if len(fewer) >= 3:
            moves = (f"h{x}" if y == 0 else f"v{y}" if x == 0 else f"l{x} {y}" for x, y in np.diff(fewer, axis=0).tolist())
            return f"M{fewer[0, 0]} {fewer[0, 1]}{''.join(moves)}z"
    # One of a step's two numbers is 0, and the axes take turns.
    steps = np.diff(loop, axis=0).sum(axis=1).tolist()
    pair = "v%dh%d" if loop[0, 0] == loop[1, 0] else "h%dv%d"
    return ("M%d %d" + pair * (len(steps) // 2) + pair[:3] + "z") % (*loop[0].tolist(), *steps)
