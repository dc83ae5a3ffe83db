"""Masks of what people draw: polygons with holes, rectangles, ellipses; by pycocotools' rule, and bounded."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .collector import Unusable

# Sides of the picture; beyond that, coordinates are not pixels, or damaged.
_FARTHEST = 16
# An ellipse as a polygon: its error is below a tenth of a pixel up to a radius of 1,000.
_CORNERS = 360


def polygon_mask(polygons: Sequence[Sequence[Any]], height: int, width: int, holes: Sequence[Sequence[Any]] = ()) -> Rle:
    """The union of flat polygons [x, y, x, y, …] in pixels, less that of the holes, rasterised as in COCO.

    Raises: Unusable for a polygon of fewer than three points, with a coordinate that is no finite number, or far outside.
    """
    mask = _union(polygons, height, width)
    return mask.subtract(_union(holes, height, width)) if holes else mask


def even_odd_mask(polygons: Sequence[Sequence[Any]], height: int, width: int) -> Rle:
    """Where an odd number of flat polygons lie over each other: parts, holes, and parts in holes, in any order.

    Raises: Unusable as of `polygon_mask`.
    """
    mask = Rle.empty(height, width)
    for polygon in polygons:
        other = _union([polygon], height, width)
        mask = mask.union(other).subtract(mask.intersect(other))
    return mask


def _union(polygons: Sequence[Sequence[Any]], height: int, width: int) -> Rle:
    try:
        return Rle.from_polygons([_checked(polygon, height, width) for polygon in polygons], height, width)
    except UserError:
        raise Unusable("polygons whose outline is too long to be drawn") from None


def _checked(polygon: Sequence[Any], height: int, width: int) -> list[float]:
    try:
        values = np.array(polygon, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise Unusable("polygons with coordinates that are no numbers") from None
    if values.ndim != 1:
        raise Unusable("polygons with coordinates that are no numbers")
    if values.size % 2:
        raise Unusable("polygons with an odd number of coordinates")
    if values.size < 6:
        raise Unusable("polygons of fewer than three points")
    if not np.isfinite(values).all():
        raise Unusable("polygons with coordinates that are not finite")
    if np.abs(values).max() > _FARTHEST * max(height, width):
        raise Unusable("polygons far outside of their picture")
    coordinates: list[float] = values.tolist()
    return coordinates


def rectangle_polygon(x1: float, y1: float, x2: float, y2: float, degrees: float = 0.0) -> list[float]:
    """The corners of a rectangle, turned clockwise about its centre (as on a screen, y down)."""
    return turned([x1, y1, x2, y1, x2, y2, x1, y2], (x1 + x2) / 2, (y1 + y2) / 2, degrees)


def ellipse_polygon(x: float, y: float, radius_x: float, radius_y: float, degrees: float = 0.0) -> list[float]:
    """An ellipse as a polygon of 360 corners, turned clockwise about its centre."""
    angles = [2 * math.pi * corner / _CORNERS for corner in range(_CORNERS)]
    points = [value for angle in angles for value in (x + radius_x * math.cos(angle), y + radius_y * math.sin(angle))]
    return turned(points, x, y, degrees)


def turned(points: Sequence[float], x: float, y: float, degrees: float) -> list[float]:
    """Flat points [x, y, …] turned clockwise about (x, y), in a picture whose y counts downwards."""
    if not degrees:
        return list(points)
    sine, cosine = math.sin(math.radians(degrees)), math.cos(math.radians(degrees))
    pairs = [(px - x, py - y) for px, py in zip(points[0::2], points[1::2])]
    return [value for dx, dy in pairs for value in (x + dx * cosine - dy * sine, y + dx * sine + dy * cosine)]
