"""3×3 convolutions of wide maps on the CPU, row by row.

Paddle unfolds a whole image into a matrix of nine times its size, half a gigabyte for a U-Net's last maps, and multiplies that.
Here three rows of an image, channel under channel, are one matrix as they lie: with the filters' three columns under each
other, one product gives three rows of terms, which are shifted by a pixel each and added. Nothing is unfolded, and what is
worked on stays in the cache.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import paddle
from numpy.lib.stride_tricks import as_strided
from paddle.autograd import PyLayer

from .seam import takes_ours
from .threads import aligned, array_of, copied, summed, tensor_of, without_threads_of_the_library

MIN_WIDTH = 96  # narrower rows make products that are too small
_BAND = 1 << 19  # floats of an image's band of rows: 2 MB

Band = tuple[int, int, int]  # image, first row, row after the last


def conv3x3(x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor | None = None) -> paddle.Tensor:
    """Convolution with stride 1 and padding 1 of float32 CPU tensors; differentiable.

    Args:
        x: (n, C, H, W).
        weight: (O, C, 3, 3).
        bias: (O,).

    Returns:
        (n, O, H, W).
    """
    return _Convolution.apply(x, weight, bias)


def applies(x: paddle.Tensor, layer: paddle.nn.Conv2D) -> bool:
    """Whether `layer` is such a convolution and x (n, C, H, W) a map so wide that it pays."""
    return x.shape[3] >= MIN_WIDTH and is_plain_3x3(x, layer)


def is_plain_3x3(x: paddle.Tensor, layer: paddle.nn.Conv2D) -> bool:
    """Whether `layer` is such a convolution and x a float32 CPU tensor."""
    return (
        takes_ours(x)
        and x.dtype == paddle.float32
        and list(layer._kernel_size) == [3, 3]
        and list(layer._stride) == list(layer._dilation) == [1, 1]
        and layer._updated_padding in (1, [1, 1], [1, 1, 1, 1])
        and layer._padding_mode == "zeros"
        and layer._groups == 1
    )


class _Convolution(PyLayer):
    @staticmethod
    @without_threads_of_the_library
    def forward(ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor | None) -> paddle.Tensor:
        ctx.save_for_backward(x, weight)
        ctx.learns = [tensor is not None and not tensor.stop_gradient for tensor in (x, weight, bias)]
        ctx.has_bias = bias is not None
        return tensor_of(correlate(array_of(x), array_of(weight), None if bias is None else array_of(bias)))

    @staticmethod
    @without_threads_of_the_library
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        data, filters, upstream = array_of(x), array_of(weight), array_of(grad)
        learns_x, learns_weight, learns_bias = ctx.learns
        dx = correlate(upstream, filters.transpose(1, 0, 2, 3)[:, :, ::-1, ::-1], None) if learns_x else None
        dw = filter_gradient(data, upstream) if learns_weight else None
        db = upstream.sum(axis=(0, 2, 3)) if learns_bias else None
        grads = (dx, dw, db) if ctx.has_bias else (dx, dw)
        return tuple(None if g is None else tensor_of(g) for g in grads)


def correlate(x: np.ndarray, weight: np.ndarray, bias: np.ndarray | None) -> np.ndarray:
    """(n, C, H, W), (O, C, 3, 3), (O,) -> (n, O, H, W)."""
    outputs, channels, width = len(weight), x.shape[1], x.shape[3]
    # rows: column of the filter, then output; columns: row of the filter, then channel
    stacked = copied(weight.transpose(3, 0, 2, 1)).reshape(3 * outputs, 3 * channels)
    out = aligned((len(x), outputs, *x.shape[2:]))

    def run(band: Band) -> None:
        image, first, _ = band
        terms = np.empty((3, outputs, width + 2), np.float32)
        for i, rows in enumerate(_triples(x, band)):
            np.matmul(stacked, rows, out=terms.reshape(3 * outputs, -1))
            # The second term's place takes the sum: the output's rows lie far apart, and are written once.
            total = np.add(terms[0, :, :-2], terms[1, :, 1:-1], out=terms[0, :, :-2])
            if bias is not None:
                total += bias[:, None]
            np.add(total, terms[2, :, 2:], out=out[image, :, first + i])

    summed(_bands(x.shape), run)
    return out


def filter_gradient(x: np.ndarray, upstream: np.ndarray) -> np.ndarray:
    """(n, C, H, W) and the output's gradient (n, O, H, W) -> (O, C, 3, 3)."""
    outputs, channels, width = upstream.shape[1], x.shape[1], x.shape[3]

    def run(band: Band) -> list[np.ndarray]:
        image, first, _ = band
        shifted = np.zeros((3, outputs, width + 2), np.float32)
        total = np.zeros((3 * outputs, 3 * channels), np.float32)
        for i, rows in enumerate(_triples(x, band)):
            for column in range(3):
                shifted[column, :, column : column + width] = upstream[image, :, first + i]
            total += shifted.reshape(3 * outputs, -1) @ rows.T
        return [total]

    total = summed(_bands(x.shape), run)[0].reshape(3, outputs, 3, channels)
    return copied(total.transpose(1, 3, 2, 0))


def _bands(shape: tuple[int, ...]) -> list[Band]:
    """All rows of all images in bands of about equal height that fit into a cache."""
    count, channels, height, width = shape
    rows = max(4, _BAND // (channels * (width + 2)))
    rows = -(-height // -(-height // rows))
    return [(image, first, min(first + rows, height)) for image in range(count) for first in range(0, height, rows)]


def _triples(x: np.ndarray, band: Band) -> Iterator[np.ndarray]:
    """For each row of a band, itself between its neighbours: (3 C, W + 2), zeros outside of the image."""
    (image, first, last), (_, channels, height, width) = band, x.shape
    rows = np.zeros((last - first + 2, channels, width + 2), np.float32)
    top, bottom = max(first - 1, 0), min(last + 1, height)
    rows[top - first + 1 : bottom - first + 1, :, 1:-1] = x[image, :, top:bottom].transpose(1, 0, 2)
    row, channel, pixel = rows.strides
    yield from as_strided(rows, (last - first, 3 * channels, width + 2), (row, channel, pixel))
