"""Masks as SVG paths: layers over a picture that a viewer turns on and off without a second picture."""

import cv2
import numpy as np

from ppdet_ext.structures import Rle


def path_of(mask: Rle, tolerance: float = 0.0) -> str:
    """Path data along the pixel edges, in the mask's pixels; holes are cut out by `fill-rule: evenodd`.

    Filled so, it covers the mask's pixels exactly. tolerance: pixels that the outline may deviate in return for a shorter
    text (Douglas and Peucker, 1973); parts that then have no area are drawn as they are. "" of an empty mask.
    """
    if not mask:
        return ""
    x1, y1, x2, y2 = map(int, mask.box)
    loops = _loops(mask.crop(y1, x1, y2, x2).to_bitmap())
    return "".join(_written(_simplified(loop, tolerance) + (x1, y1)) for loop in loops)


def _loops(bitmap: np.ndarray) -> list[np.ndarray]:
    """Corners (n, 2) int64 x, y of each outer boundary and of each hole's, of a bitmap (h, w) uint8."""
    doubled = cv2.resize(bitmap, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    # Without a border, holes beside the edge would be traced along the edge.
    doubled = cv2.copyMakeBorder(doubled, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    contours, _ = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    loops = []
    for contour in contours:
        # Pixel p covers 2p and 2p + 1 of the doubled bitmap, a hole's contour the pixels around it: both round to edges.
        points = contour[:, 0].astype(np.int64) // 2
        points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
        before = points - np.roll(points, 1, axis=0)
        after = np.roll(points, -1, axis=0) - points
        loops.append(points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]])
    return loops


def _simplified(loop: np.ndarray, tolerance: float) -> np.ndarray:
    if tolerance <= 0 or len(loop) <= 4:
        return loop
    fewer = cv2.approxPolyDP(loop.astype(np.int32).reshape(-1, 1, 2), tolerance, True).reshape(-1, 2).astype(np.int64)
    return fewer if len(fewer) >= 3 else loop


def _written(loop: np.ndarray) -> str:
    """A closed loop in relative steps: h and v along an axis, l elsewhere; whole numbers, which keeps it short."""
    steps = np.diff(loop, axis=0).tolist()
    moves = (f"h{x}" if y == 0 else f"v{y}" if x == 0 else f"l{x} {y}" for x, y in steps)
    return f"M{loop[0, 0]} {loop[0, 1]}{''.join(moves)}z"
