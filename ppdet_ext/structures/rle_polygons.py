"""Polygons and bitmaps: outlines follow the pixel edges, so that rasterising them gives the mask back."""

import cv2
import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.errors import UserError

# pycocotools takes some forty bytes for each pixel of an outline, and ends the process where it gets none.
_LONGEST_OUTLINE = 1 << 21


def rasterise(polygons: list[list[float]], height: int, width: int) -> dict:
    """Flat polygons [x, y, x, y, …] -> the COCO RLE dict of their union.

    UserError for a polygon of fewer than 3 points, with coordinates odd in number or not finite, or an outline too long.
    """
    for i, polygon in enumerate(polygons):
        if len(polygon) < 6 or len(polygon) % 2:
            raise UserError(f"polygon {i} has {len(polygon)} coordinates, not x and y of at least 3 points")
        if not np.isfinite(polygon).all():
            raise UserError(f"polygon {i} has a coordinate that is not a finite number")
        points = np.reshape(polygon, (-1, 2))
        length = np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum()
        if length > _LONGEST_OUTLINE:
            raise UserError(f"polygon {i} has an outline of {length:.4g} pixels, more than {_LONGEST_OUTLINE}")
    parts = mask_utils.frPyObjects([list(map(float, polygon)) for polygon in polygons], height, width)
    return mask_utils.merge(parts)


def outlines(bitmap: np.ndarray) -> list[list[float]]:
    """Bitmap (h, w) uint8 -> outer boundary of each 8-connected region, a flat polygon along the pixel edges.

    Holes are not represented (COCO's polygons cannot).
    """
    doubled = cv2.resize(bitmap, None, fx=2, fy=2, interpolation=cv2.INTER_NEAREST)
    contours, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    polygons = []
    for contour in contours:
        # In the doubled bitmap pixel p covers 2p and 2p+1; halving upwards sends them to its edges p and p+1.
        points = (contour[:, 0].astype(np.int64) + 1) // 2
        points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
        before = points - np.roll(points, 1, axis=0)
        after = np.roll(points, -1, axis=0) - points
        corner = before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]
        polygons.append(points[corner].astype(float).ravel().tolist())
    return polygons
