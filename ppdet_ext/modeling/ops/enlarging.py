"""Bilinear enlargement with aligned corners on the CPU, in threads: for each map two products with matrices of few diagonals.

Paddle's gradient of it takes one thread.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer

from .channelwise import applies, asks_for_gradient, image_blocks
from .threads import aligned, array_of, summed, tensor_of, without_threads_of_the_library

Tile = tuple[slice, slice, np.ndarray]  # rows and columns of a matrix, and what it has there
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
        list(_tiles(target, side, True) if inverse else _tiles(side, target, False))
        for side, target in zip(maps.shape[2:], size)
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


def _across(maps: np.ndarray, columns: Sequence[Tile], out: np.ndarray) -> np.ndarray:
    """Maps (c, h, w) times the matrix of these tiles (w, W), written to out (c, h, W)."""
    for some, own, shares in columns:
        np.matmul(maps[:, :, some], shares, out=out[:, :, own])
    return out


def _down(maps: np.ndarray, rows: Sequence[Tile], out: np.ndarray) -> np.ndarray:
    """Maps (c, h, w) times the matrix of these tiles (h, H) from the left, written to out (c, H, w)."""
    for some, own, shares in rows:
        np.matmul(shares.T, maps[:, some], out=out[:, own])
    return out


def _tiles(length: int, target: int, inverse: bool) -> Iterator[Tile]:
    """The matrix (length, target) of pixels' shares in those of an enlarged row, columns by columns; inverse: its transpose.

    The whole one would be as large as the maps of a wide picture. In Paddle's float32 steps.
    """
    ratio = np.float32(length - 1) / np.float32(target - 1) if target > 1 else np.float32(0)
    at = ratio * np.arange(target, dtype=np.float32)
    first = np.minimum(at.astype(np.int64), length - 1)
    share = at - first.astype(np.float32)
    for start in range(0, length if inverse else target, _TILE):
        if inverse:
            own = slice(start, min(start + _TILE, length))
            some = slice(*map(int, np.searchsorted(first, (own.start - 1, own.stop))))
            yield some, own, _shares(first[some], share[some], length, own).T
        else:
            own = slice(start, min(start + _TILE, target))
            some = slice(int(first[own][0]), min(int(first[own][-1]) + 2, length))
            yield some, own, _shares(first[own], share[own], length, some)


def _shares(first: np.ndarray, share: np.ndarray, length: int, pixels: slice) -> np.ndarray:
    """Shares (pixels, n) of a row's pixels in enlarged ones, which begin at `first` (n,) and take `share` (n,) of the next."""
    found = np.zeros((pixels.stop - pixels.start, len(first)), np.float32)
    for at, weight in ((first, 1 - share), (np.minimum(first + 1, length - 1), share)):
        inside = np.flatnonzero((at >= pixels.start) & (at < pixels.stop))
        found[at[inside] - pixels.start, inside] += weight[inside]
    return found
