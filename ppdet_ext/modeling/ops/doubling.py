"""Maps at twice their size, each pixel four times, and finer maps behind them, written once and in threads on the CPU."""

from typing import Any

import numpy as np
import paddle
from paddle.autograd import PyLayer

from .channelwise import asks_for_gradient, image_blocks
from .threads import aligned, array_of, summed, tensor_of

Maps = tuple[int, slice]  # of `image_blocks`


def doubled(x: paddle.Tensor, skip: paddle.Tensor | None = None) -> paddle.Tensor:
    """Nearest-pixel enlargement, and other maps behind it; differentiable. float32 CPU tensors.

    Args:
        x: (B, C, H, W).
        skip: (B, D, 2 H, 2 W).

    Returns:
        (B, C + D, 2 H, 2 W).
    """
    return _Doubled.apply(x, skip)


def doubled_onto(x: paddle.Tensor, other: paddle.Tensor) -> paddle.Tensor:
    """Nearest-pixel enlargement of x (B, C, H, W), plus other maps (B, C, 2 H, 2 W); differentiable. float32 CPU tensors.

    Without a gradient in the other maps' memory.
    """
    if asks_for_gradient(x, other):
        return _Onto.apply(x, other)
    maps = array_of(other)
    _add(array_of(x), maps, maps)
    return other


class _Doubled(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, skip: paddle.Tensor | None) -> paddle.Tensor:
        images, channels, height, width = x.shape
        ctx.shape, beside = x.shape, 0 if skip is None else skip.shape[1]
        ctx.learns = [not tensor.stop_gradient for tensor in (x, skip) if tensor is not None]
        out = aligned((images, channels + beside, 2 * height, 2 * width))
        data = array_of(x)

        def double(maps: Maps) -> None:
            into = out[maps].reshape(-1, height, 2, width, 2)
            into[:, :, 0, :, 0] = into[:, :, 0, :, 1] = data[maps]
            into[:, :, 1] = into[:, :, 0]

        summed(image_blocks((images, channels, 4 * height * width)), double)
        if skip is not None:
            _copy(array_of(skip), out[:, channels:])
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        upstream, channels = array_of(grad), ctx.shape[1]
        found: list[paddle.Tensor | None] = [None] * len(ctx.learns)
        if ctx.learns[0]:
            found[0] = tensor_of(_halved(upstream, ctx.shape))
        if ctx.learns[1:] == [True]:
            beside = upstream[:, channels:]
            copy = aligned(beside.shape)
            _copy(beside, copy)
            found[1] = tensor_of(copy)
        return tuple(found)


class _Onto(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, other: paddle.Tensor) -> paddle.Tensor:
        ctx.shape, ctx.learns = x.shape, [not tensor.stop_gradient for tensor in (x, other)]
        out = aligned(other.shape)
        _add(array_of(x), array_of(other), out)
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        dx = tensor_of(_halved(array_of(grad), ctx.shape)) if ctx.learns[0] else None
        return dx, grad if ctx.learns[1] else None


def _add(x: np.ndarray, other: np.ndarray, out: np.ndarray) -> None:
    """Write doubled maps x (B, C, H, W) plus others to `out` (B, C, 2 H, 2 W), which may be the others' memory."""
    images, channels, height, width = x.shape

    def add(maps: Maps) -> None:
        given, into = (one[maps].reshape(-1, height, 2, width, 2) for one in (other, out))
        for column in (0, 1):
            np.add(given[..., column], x[maps][:, :, None], out=into[..., column])

    summed(image_blocks((images, channels, 4 * height * width)), add)


def _halved(upstream: np.ndarray, shape: list[int]) -> np.ndarray:
    """The gradient of doubled maps (B, C, 2 H, 2 W) -> of the maps, of `shape`: sums over four pixels."""
    images, channels, height, width = shape
    dx = aligned(shape)

    def halve(maps: Maps) -> None:
        given = upstream[maps].reshape(-1, height, 2, 2 * width)
        rows = given[:, :, 0] + given[:, :, 1]
        np.add(rows[..., ::2], rows[..., 1::2], out=dx[maps])

    summed(image_blocks((images, channels, 4 * height * width)), halve)
    return dx


def _copy(maps: np.ndarray, out: np.ndarray) -> None:
    """Maps (B, C, H, W) into others."""

    def copy(part: Maps) -> None:
        out[part] = maps[part]

    summed(image_blocks((*maps.shape[:2], maps.shape[2] * maps.shape[3])), copy)
