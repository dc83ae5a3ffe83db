"""One-dimensional RoIAlign weights. Bilinear sampling on a grid is separable, so two of these make RoIAlign."""

import numpy as np


def bin_weights(
    start: np.ndarray, size: np.ndarray, bins: int, samples: np.ndarray, length: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights with which cells along one axis enter each bin of each region (Mask R-CNN's RoIAlign, arXiv 1703.06870 §3).

    A region [start, start + size) is cut into `bins`; a bin is the mean of `samples` bilinear samples spread evenly over it.
    Samples outside [-1, length] are 0; a region without extent takes no sample.

    Args:
        start, size: (r,) float32 in cells (cell i has its centre at i).
        bins: bins of every region.
        samples: (r,) int64 samples in a bin.
        length: cells along the axis.

    Returns:
        first: (r, bins) int64, the first cell of each bin.
        weights: (r, bins, span) float32, of cells first, first + 1, …; zero beyond a bin's last cell.
    """
    # A common grid of samples: those that a smaller region has not are masked by `used`.
    most = max(1, int(samples.max(initial=1)))
    step = (size / np.float32(bins)).astype(np.float32)[:, None, None]
    count = np.maximum(samples, 1).astype(np.float32)[:, None, None]
    inner = (np.arange(most, dtype=np.float32) + np.float32(0.5))[None, None] * step / count
    at = start.astype(np.float32)[:, None, None] + np.arange(bins, dtype=np.float32)[None, :, None] * step + inner
    used = (np.arange(most)[None, None] < samples[:, None, None]) & (at >= -1) & (at <= length)
    # Between -1 and 0 the first cell stands for all before it, as the last one does beyond the end.
    at = np.maximum(at, np.float32(0))
    low = np.minimum(at.astype(np.int64), length - 1)
    share = np.where(low >= length - 1, np.float32(0), at - low)  # of the next cell; the last cell stands for all beyond
    first = np.where(used, low, length).min(axis=2)
    first[first == length] = 0
    offset = np.where(used, low - first[..., None], 0)
    span = int(offset.max(initial=0)) + 2
    row = np.arange(offset.shape[0] * bins).reshape(-1, bins, 1) * span + offset
    high = np.where(used, share / count, 0)
    # bincount adds up the samples that fall on the same cell of a bin, in float64.
    flat = np.bincount(row.ravel(), np.where(used, 1 / count, 0).ravel() - high.ravel(), minlength=row[..., 0].size * span)
    flat = flat + np.bincount((row + 1).ravel(), high.ravel(), minlength=row[..., 0].size * span)
    return first, flat.reshape(-1, bins, span).astype(np.float32)
