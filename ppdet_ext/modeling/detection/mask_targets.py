"""What the mask head learns: each positive region's crop of its object's bitmap."""

from collections.abc import Callable

import numpy as np

from ppdet_ext.modeling.ops.bilinear import bin_weights


def mask_targets(
    boxes: np.ndarray, object_index: np.ndarray, bitmap_of: Callable[[int], np.ndarray], size: int = 28
) -> np.ndarray:
    """RoIAlign of the object's bitmap at every box, thresholded; holes and several parts stay as they are.

    One bitmap is in memory at a time, so 200 objects of a large image cost no more than one.

    Args:
        boxes: (n, 4) float32 px.
        object_index: (n,) int64, whose mask each box learns.
        bitmap_of: gives object k's (H, W) bitmap of 0 and 1.
        size: cells along each side.

    Returns:
        (n, size, size) float32 of 0 and 1.
    """
    out = np.zeros((len(boxes), size, size), np.float32)
    for k in np.unique(object_index):  # each bitmap is decoded once, whatever the number of boxes
        bitmap = bitmap_of(int(k))
        rows = np.flatnonzero(object_index == k)
        y_first, wy = _axis(boxes[rows][:, [1, 3]], bitmap.shape[0], size)
        x_first, wx = _axis(boxes[rows][:, [0, 2]], bitmap.shape[1], size)
        for r, (y0, x0, a, b) in zip(rows, zip(y_first, x_first, wy, wx)):
            top, left = y0.min(), x0.min()
            # Only the cells that the bins reach are read: a small box in a large image costs little.
            a, b = _spread(a, y0 - top, bitmap.shape[0] - top), _spread(b, x0 - left, bitmap.shape[1] - left)
            crop = bitmap[top : top + a.shape[1], left : left + b.shape[1]]
            out[r] = a @ crop.astype(np.float32) @ b.T >= 0.5
    return out


def _axis(ends: np.ndarray, length: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    start = ends[:, 0] - np.float32(0.5)
    extent = ends[:, 1] - ends[:, 0]
    # As RoIAlign's adaptive sampling, so that target and feature see the same points.
    samples = np.maximum(np.ceil(extent / np.float32(size)), 0).astype(np.int64)
    return bin_weights(start, extent, size, samples, length)


def _spread(weights: np.ndarray, offset: np.ndarray, limit: int) -> np.ndarray:
    """Bins' weights (bins, span) at their offsets, as one (bins, cells) matrix."""
    bins, span = weights.shape
    matrix = np.zeros((bins, int(offset.max()) + span), np.float32)
    matrix[np.arange(bins)[:, None], offset[:, None] + np.arange(span)] = weights
    return matrix[:, :limit]
