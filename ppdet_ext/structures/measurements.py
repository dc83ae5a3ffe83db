"""What a person measures of an object: area, centroid, length and width, in pixels and in millimetres."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import NamedTuple

import cv2
import numpy as np

from ppdet_ext.errors import UserError

from .detections import Detections
from .rle import Rle
from .rle_regions import Pieces, split_columns

# Two rectangles whose areas differ by less, relatively, are equally small; rounding alone decides between them.
_TIE = 1e-9


class Measurement(NamedTuple):
    """Of a mask, in pixels; x and y count from the image's corner, so that the first pixel's centre is at 0.5, 0.5.

    area: pixels set. centroid_x, centroid_y: mean of their centres. length, width: longer and shorter side of the smallest
    rectangle, turned as it may be, around all their corners: a line of n pixels is n long and 1 wide. angle: of the longer
    side against the x axis in degrees, -90 < angle <= 90, as drawn with y downwards: 45 falls to the right.
    All but area are NaN where no pixel is set.
    """

    area: int
    centroid_x: float
    centroid_y: float
    length: float
    width: float
    angle: float


def measure(mask: Rle) -> Measurement:
    """The measurement of a mask. Its cost grows with the number of runs, not of pixels."""
    starts, lengths = mask.runs()
    if not starts.size:
        return Measurement(0, math.nan, math.nan, math.nan, math.nan, math.nan)
    pieces = split_columns(np.stack([starts, starts + lengths], axis=1).ravel(), mask.height)
    weights = pieces.bottom - pieces.top
    area = int(weights.sum())
    x = float((weights * (2 * pieces.column + 1)).sum()) / (2 * area)
    y = float((weights * (pieces.top + pieces.bottom)).sum()) / (2 * area)
    return Measurement(area, x, y, *_smallest_rectangle(_corners(pieces)))


def _corners(pieces: Pieces) -> np.ndarray:
    """Corners (n, 2) int64 x, y of the pixels that can be on the hull: of the first and last in each column."""
    columns, first = np.unique(pieces.column, return_index=True)
    last = np.append(first[1:], len(pieces.column)) - 1
    xs = np.concatenate([columns, columns + 1] * 2)
    ys = np.concatenate([pieces.top[first]] * 2 + [pieces.bottom[last]] * 2)
    return np.stack([xs, ys], axis=1)


def _smallest_rectangle(points: np.ndarray) -> tuple[float, float, float]:
    """(length, width, angle) of the rectangle of least area around points (n, 2); of equal ones the longest, then least turned.

    One side of it lies on a side of the hull (Freeman and Shapira, 1975), as in cv2.minAreaRect, which works in float32: here
    a mask that is moved or turned by 90 degrees measures the same.
    """
    hull = cv2.convexHull(points.astype(np.int32)).reshape(-1, 2).astype(np.float64)
    hull -= hull.min(axis=0)
    sides = np.roll(hull, -1, axis=0) - hull
    along = sides / np.hypot(sides[:, 0], sides[:, 1])[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    extents = np.stack([np.ptp(hull @ axes.T, axis=0) for axes in (along, across)], axis=1)
    areas = extents.prod(axis=1)
    chosen = np.flatnonzero(areas <= areas.min() * (1 + _TIE))
    axes = np.where((extents[chosen, 0] >= extents[chosen, 1])[:, None], along[chosen], across[chosen])
    angles = np.round(np.degrees(np.arctan2(axes[:, 1], axes[:, 0])), 9)
    # A side has no direction: 180 degrees are 0.
    angles = 90 - (90 - angles) % 180
    longest = np.round(extents[chosen].max(axis=1), 9)
    best = np.lexsort((-angles, np.abs(angles), -longest))[0]
    length, width = np.sort(extents[chosen[best]])[::-1].tolist()
    return length, width, float(angles[best]) + 0.0


def check_scale(mm_per_pixel: float | None, setting: str = "mm_per_pixel") -> None:
    """Raises: UserError unless it is None, or a finite number above 0; names the `setting`."""
    if mm_per_pixel is None:
        return
    if not isinstance(mm_per_pixel, Real) or not (math.isfinite(mm_per_pixel) and mm_per_pixel > 0):
        raise UserError(f"{setting} is the side of a pixel in millimetres, a number above 0 as 0.05, not {mm_per_pixel!r}.")


def measurement_rows(
    detections: Detections, class_names: Sequence[str], mm_per_pixel: float | None = None
) -> list[dict[str, str | float | None]]:
    """A row of each object, in the order of `detections`: column -> value; None where a model gives no masks.

    Columns: class, score; x, y, w, h of the box in pixels; area_px, centroid_x, centroid_y, length_px, width_px, angle of the
    mask (see `Measurement`); with `mm_per_pixel` area_mm2, length_mm and width_mm too.

    Raises: UserError for a scale that is none (`check_scale`); IndexError for a label without a name.
    """
    check_scale(mm_per_pixel)
    masks = detections.masks if detections.masks is not None else [None] * len(detections)
    rows = []
    for label, score, box, mask in zip(detections.labels, detections.scores.tolist(), detections.boxes.tolist(), masks):
        x1, y1, x2, y2 = box
        row: dict[str, str | float | None] = {"class": class_names[label], "score": score}
        row |= {"x": x1, "y": y1, "w": x2 - x1, "h": y2 - y1}
        rows.append(row | _columns(None if mask is None else measure(mask), mm_per_pixel))
    return rows


def measurement_columns(mm_per_pixel: float | None = None) -> list[str]:
    """The keys of `measurement_rows`, in order."""
    return ["class", "score", "x", "y", "w", "h", *_columns(None, mm_per_pixel)]


def _columns(found: Measurement | None, mm_per_pixel: float | None) -> dict[str, str | float | None]:
    area, x, y, length, width, angle = found or [None] * 6
    columns: dict[str, str | float | None] = {"area_px": area}
    scale = mm_per_pixel or 0.0
    if mm_per_pixel is not None:
        columns["area_mm2"] = None if area is None else area * scale**2
    columns |= {"centroid_x": x, "centroid_y": y, "length_px": length, "width_px": width}
    if mm_per_pixel is not None:
        columns["length_mm"] = None if length is None else length * scale
        columns["width_mm"] = None if width is None else width * scale
    return columns | {"angle": angle}
