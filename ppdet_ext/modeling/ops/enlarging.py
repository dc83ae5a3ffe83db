"""Bilinear enlargement with aligned corners on the CPU, in threads: for each map two products with matrices of few diagonals.

Paddle's gradient of it takes one thread.
"""

from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

from .channelwise import applies, asks_for_gradient, image_blocks
from .threads import aligned, array_of, summed, tensor_of, without_threads_of_the_library

_TILE = 64  # columns of a product: the matrix has nothing but zeros beyond some rows of these


def enlarged(x: paddle.Tensor, size: Sequence[int] | paddle.Tensor) -> paddle.Tensor:
    """(B, C, H, W) -> (B, C, *size), bilinear, the corners' centres on each other; differentiable."""
    if not applies(x, x):
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
    target = tuple(int(side) for side in size)
    return _Enlarged.apply(x, target) if asks_for_gradient(x) else tensor_of(_resampled(array_of(x), target, False))


class _Enlarged(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, size: tuple[int, int]) -> paddle.Tensor:
        ctx.size = tuple(x.shape[2:])
        return tensor_of(_resampled(array_of(x), size, False))

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> paddle.Tensor:
        return tensor_of(_resampled(array_of(grad), ctx.size, True))


@without_threads_of_the_library
def _resampled(maps: np.ndarray, size: tuple[int, int], inverse: bool) -> np.ndarray:
    """Maps (n, C, h, w) enlarged to `size`; inverse: the gradient of enlarged maps, for those of `size`."""
    out = aligned((*maps.shape[:2], *size))
    rows, columns = (
        weights(target, side).T if inverse else weights(side, target) for side, target in zip(maps.shape[2:], size)
    )

    def run(part: tuple[int, slice]) -> None:
        given, into = maps[part], out[part]
        # The axis first that leaves less for the other.
        if inverse:
            _down(_across(given, columns, np.empty((*given.shape[:2], size[1]), np.float32)), rows, into)
        else:
            _across(_down(given, rows, np.empty((len(given), size[0], given.shape[2]), np.float32)), columns, into)

    summed(image_blocks((*maps.shape[:2], max(maps[0, 0].size, out[0, 0].size))), run)
    return out


@lru_cache(maxsize=64)
def weights(length: int, target: int) -> np.ndarray:
    """(length, target) float32: shares of pixels in those of an enlarged row, in Paddle's float32 steps."""
    ratio = np.float32(length - 1) / np.float32(target - 1) if target > 1 else np.float32(0)
    at = ratio * np.arange(target, dtype=np.float32)
    first = np.minimum(at.astype(np.int64), length - 1)
    share = at - first.astype(np.float32)
    found = np.zeros((length, target), np.float32)
    found[first, np.arange(target)] = 1 - share
    found[np.minimum(first + 1, length - 1), np.arange(target)] += share
    found.setflags(write=False)
    return found


def _across(maps: np.ndarray, columns: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Maps (c, h, w) times columns (w, W), written to out (c, h, W)."""
    for some, own in _tiles(columns):
        np.matmul(maps[:, :, some], columns[some, own], out=out[:, :, own])
    return out


def _down(maps: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
    """Maps (c, h, w) times rows (h, H) from the left, written to out (c, H, w)."""
    for some, own in _tiles(rows):
        np.matmul(rows[some, own].T, maps[:, some], out=out[:, own])
    return out


def _tiles(matrix: np.ndarray) -> Iterator[tuple[slice, slice]]:
    """Columns of a matrix with few diagonals, some at a time, and the rows in which they have more than zeros."""
    for first in range(0, matrix.shape[1], _TILE):
        own = slice(first, first + _TILE)
        filled = np.flatnonzero(matrix[:, own].any(axis=1))
        yield slice(filled[0], filled[-1] + 1), own
