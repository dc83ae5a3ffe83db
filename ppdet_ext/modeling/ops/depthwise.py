"""Depthwise convolutions on the CPU: one filter a channel, in threads, a few channels at a time, which stay in the cache.

Paddle's run in one thread, and a 5×5 one takes three times as long as it should. Here large maps are filtered by OpenCV, one by
one, and small ones as the sum over a filter's columns of numpy's products of shifted rows. A stride is taken out of the result
without one: there are few of these layers.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import paddle
from numpy.lib.stride_tricks import as_strided
from paddle.autograd import PyLayer

from . import channelwise
from .channelwise import blocks
from .threads import aligned, array_of, summed, tensor_of

_LARGE = 10_000  # pixels from which OpenCV's 17 µs to begin are less than it saves
_BLOCK = 1 << 16  # pixels of the channels worked on together: 256 KB
_SEGMENT = 1 << 12  # pixels summed in one go: the nearest cache holds them


class Geometry(NamedTuple):
    """Stride and dilation, and the zeros before the map's first row and column."""

    stride: int
    dilation: int
    before: int


def depthwise(x: paddle.Tensor, weight: paddle.Tensor, geometry: Geometry, after: int) -> paddle.Tensor:
    """Convolve each channel with its own filter, without bias; differentiable. float32 CPU tensors.

    Args:
        x: (n, C, H, W).
        weight: (C, 1, k, k).
        geometry: how the filters move, down as across.
        after: zeros after the last row and column. With those before no more than (k − 1) · dilation.

    Returns:
        (n, C, H', W').
    """
    return _Depthwise.apply(x, weight, geometry, after)


def applies(x: paddle.Tensor, layer: paddle.nn.Conv2D) -> bool:
    """Whether `layer` is such a convolution of x (n, C, H, W)."""
    padding, reach = layer._updated_padding, _reach(layer._kernel_size[0], layer._dilation[0])
    return (
        channelwise.applies(x, layer.weight)
        and layer.bias is None
        and layer._groups == layer._in_channels == layer._out_channels
        and layer._padding_mode == "zeros"
        and all(len({*pair}) == 1 for pair in (layer._kernel_size, layer._stride, layer._dilation))
        and list(padding[:2]) == list(padding[-2:])
        and sum(padding[:2]) <= reach < min(x.shape[2:]) + sum(padding[:2])
    )


def convolved(x: paddle.Tensor, layer: paddle.nn.Conv2D) -> paddle.Tensor:
    """What a layer to which this applies gives of x (n, C, H, W)."""
    before, after = layer._updated_padding[:2]
    return depthwise(x, layer.weight, Geometry(layer._stride[0], layer._dilation[0], before), after)


def _reach(kernel: int, dilation: int) -> int:
    """Pixels from the first to the last under a filter."""
    return (kernel - 1) * dilation


class _Depthwise(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, geometry: Geometry, after: int) -> paddle.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.geometry = geometry
        ctx.learns = [not tensor.stop_gradient for tensor in (x, weight)]
        data, filters = array_of(x), array_of(weight)[:, 0]
        stride, dilation, before = geometry
        beyond = before + after - _reach(filters.shape[-1], dilation)
        out = aligned((*data.shape[:2], *(-(-(side + beyond) // stride) for side in data.shape[2:])))

        def run(part: slice) -> None:
            filtered = _filter_of(data.shape[2:], filters[part], dilation, before)
            for image, into in zip(data[:, part], out[:, part]):
                if stride == 1 and not beyond:
                    filtered(image, into)
                else:
                    rows, columns = (side * stride for side in out.shape[2:])
                    into[...] = filtered(image, np.empty(image.shape, np.float32))[:, :rows:stride, :columns:stride]

        summed(_jobs(data.shape), run)
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        data, filters, upstream = array_of(x), array_of(weight)[:, 0], array_of(grad)
        stride, dilation, before = ctx.geometry
        reach = _reach(filters.shape[-1], dilation)
        dx = aligned(data.shape) if ctx.learns[0] else None
        dw = np.zeros(filters.shape, np.float32) if ctx.learns[1] else None

        def run(part: slice) -> None:
            turned = np.ascontiguousarray(filters[part, ::-1, ::-1])
            filtered = _filter_of(data.shape[2:], turned, dilation, reach - before)
            gradient = _Gradient(data.shape[2:], filters[part].shape, ctx.geometry)
            for i, own in enumerate(upstream[:, part]):
                if dx is not None:
                    filtered(_spread(own, data.shape[2:], stride), dx[i, part])
                if dw is not None:
                    dw[part] += gradient(data[i, part], own)

        summed(_jobs(data.shape), run)
        return None if dx is None else tensor_of(dx), None if dw is None else tensor_of(dw[:, None])


def _jobs(shape: tuple[int, ...]) -> list[slice]:
    """All channels of maps (n, C, H, W), so many at a time as fit into a cache."""
    return blocks((1, shape[1], shape[2] * shape[3]), _BLOCK)


def _spread(grad: np.ndarray, size: tuple[int, ...], stride: int) -> np.ndarray:
    """A gradient (C, H', W') where its pixels are in maps of stride 1, zeros between: (C, *size)."""
    if grad.shape[1:] == tuple(size):
        return grad
    spread = np.zeros((len(grad), *size), np.float32)
    rows, columns = (side * stride for side in grad.shape[1:])
    spread[:, :rows:stride, :columns:stride] = grad
    return spread


def _filter_of(
    size: tuple[int, ...], filters: np.ndarray, dilation: int, before: int
) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """A function (maps (C, *size), out) -> out, maps of the same size: maps filtered with stride 1 by filters (C, k, k)."""
    if dilation == 1 and size[0] * size[1] >= _LARGE:

        def by_opencv(maps: np.ndarray, out: np.ndarray) -> np.ndarray:
            for one, weights, into in zip(maps, filters, out):
                cv2.filter2D(one, -1, weights, into, anchor=(before, before), borderType=cv2.BORDER_CONSTANT)
            return out

        return by_opencv
    (height, width), kernel = size, filters.shape[-1]
    padded = _Padded(size, len(filters), kernel, dilation, before, height)
    total, term = np.empty((2, len(filters), height, padded.pitch), np.float32)

    def by_numpy(maps: np.ndarray, out: np.ndarray) -> np.ndarray:
        shifted = padded.fill(maps)[:, 0]
        for column in range(kernel):
            into = term if column else total
            np.einsum("ckn,ck->cn", shifted[:, :, column], filters[:, :, column], out=into.reshape(len(filters), -1))
            if column:
                np.add(total, term, out=total)
        out[...] = total[:, :, :width]
        return out

    return by_numpy


class _Padded:
    """Channels between zeros, so that all pixels under an element of the filter lie one behind the other.

    Args:
        size: height and width.
        channels: their number.
        kernel, dilation, before: of the filter.
        rows: rows of a segment.
        step: rows from one segment to the next; None for the next row.
    """

    def __init__(
        self, size: tuple[int, ...], channels: int, kernel: int, dilation: int, before: int, rows: int, step: int | None = None
    ):
        height, width = size
        reach, step = _reach(kernel, dilation), step or rows
        self.pitch, segments = width + reach, -(-height // step)
        # one row more than is looked at: the last row's right neighbours
        maps = np.zeros((channels, segments * step + reach + 1, self.pitch), np.float32)
        self.inside = maps[:, before : before + height, before : before + width]
        channel, row, pixel = maps.strides
        # (C, segments, k, k, pixels of a segment)
        shape = channels, segments, kernel, kernel, rows * self.pitch
        self.shifted = as_strided(maps, shape, (channel, step * row, dilation * row, dilation * pixel, pixel))

    def fill(self, maps: np.ndarray) -> np.ndarray:
        """Maps (C, H, W) as `shifted`: (C, segments, k, k, pixels)."""
        self.inside[...] = maps
        return self.shifted


class _Gradient:
    """Gradient of the filters (C, k, k) for one image after the other."""

    def __init__(self, size: tuple[int, ...], filters: tuple[int, ...], geometry: Geometry):
        (channels, kernel, _), (height, width), (self.stride, dilation, before) = filters, size, geometry
        # With a stride a segment is a row that has a gradient; those between are left out.
        rows = max(1, min(height, _SEGMENT // width)) if self.stride == 1 else 1
        self.padded = _Padded(size, channels, kernel, dilation, before, rows, rows * self.stride)
        segments = self.padded.shifted.shape[1]
        self.upstream = np.zeros((channels, segments * rows, self.padded.pitch), np.float32)

    def __call__(self, maps: np.ndarray, grad: np.ndarray) -> np.ndarray:
        """Maps (C, H, W) and the gradient (C, H', W') of what they are filtered to -> (C, k, k)."""
        shifted = self.padded.fill(maps)
        _, rows, columns = grad.shape
        self.upstream[:, :rows, : columns * self.stride : self.stride] = grad
        return np.einsum("csijn,csn->csij", shifted, self.upstream.reshape(*shifted.shape[:2], -1)).sum(axis=1)
