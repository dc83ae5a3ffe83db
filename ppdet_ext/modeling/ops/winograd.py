"""3×3 convolutions on the CPU with a quarter of the multiplications.

Winograd's F(4×4, 3×3) (Lavin & Gray, arXiv 1509.09308): the input is cut into tiles of 6 × 6 that overlap by 2; tiles and
filters are transformed, multiplied as 36 matrix products, and transformed back into 4 × 4 outputs. The interpolation points are
0, ±√½, ±√2 and ∞: with them the error is a quarter of the usual choice's, about three times that of the plain convolution in
float32 (after Barabasz et al., arXiv 1803.10986).
"""

from collections.abc import Callable
from threading import Lock
from typing import Any

import numpy as np
import paddle
from numpy.lib.stride_tricks import as_strided
from paddle.autograd import PyLayer
from paddle.utils.dlpack import from_dlpack

from .seam import takes_ours
from .threads import array_of, summed, without_threads_of_the_library
from .winograd_canvas import STEP, Canvas, canvases

TILE = STEP + 2  # input cells of a tile along each side
MIN_REGIONS, MIN_CELLS, MIN_CHANNELS = 4, 6400, 128  # below, the transforms cost more than they save


def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Transforms of Toom and Cook for output (4 × 6), filter (6 × 3) and input (6 × 6)."""
    points = np.array([0, 0.5**0.5, -(0.5**0.5), 2**0.5, -(2**0.5)])
    others = [np.delete(points, i) for i in range(len(points))]
    scale = np.array([np.prod(p - o) for p, o in zip(points, others)])
    output = np.vstack([points[:, None] ** np.arange(STEP), np.eye(STEP)[-1]]).T
    kernel = np.vstack([points[:, None] ** np.arange(3) / scale[:, None], np.eye(3)[-1]])
    inputs = np.zeros((TILE, TILE))
    for i, roots in enumerate([*others, points]):
        inputs[i, : len(roots) + 1] = np.poly(roots)[::-1]
    return output, kernel, inputs


_OUTPUT, _KERNEL, _INPUT = _matrices()
_OUTPUT_2D = np.kron(_OUTPUT, _OUTPUT).astype(np.float32)  # (16, 36)
_INPUT_2D = np.kron(_INPUT, _INPUT).astype(np.float32)  # (36, 36)
_KERNEL_2D = np.kron(_KERNEL, _KERNEL).astype(np.float32)  # (36, 9)


def conv3x3(x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, relu: bool = False) -> paddle.Tensor:
    """Convolution with stride 1 and padding 1 of float32 CPU tensors, and a ReLU if asked for; differentiable.

    Args:
        x: (n, C, H, W).
        weight: (O, C, 3, 3).
        bias: (O,).

    Returns:
        (n, O, H, W).
    """
    return _Convolution.apply(x, weight, bias, relu)


def applies(x: paddle.Tensor, layer: paddle.nn.Conv2D) -> bool:
    """Whether `layer` is such a convolution and x (n, C, H, W) a batch of regions or a map so large that it pays.

    Paddle multiplies image by image: many small regions suffer most from it.
    """
    n, channels, height, width = x.shape
    return (
        takes_ours(x)
        and x.dtype == paddle.float32
        and list(layer._kernel_size) == [3, 3]
        and list(layer._stride) == list(layer._dilation) == [1, 1]
        and layer._updated_padding in (1, [1, 1])
        and layer._padding_mode == "zeros"
        and layer._groups == 1
        and (n >= MIN_REGIONS or n * height * width >= MIN_CELLS)
        and min(channels, layer._out_channels) >= MIN_CHANNELS
    )


def transform_filters(weight: np.ndarray) -> np.ndarray:
    """(O, C, 3, 3) -> (36, O, C)."""
    outputs, channels = weight.shape[:2]
    taps = np.ascontiguousarray(weight.reshape(-1, 9).T)
    return (_KERNEL_2D @ taps).reshape(36, outputs, channels)


def transform_filters_adjoint(gradient: np.ndarray) -> np.ndarray:
    """Gradient of the transformed filters (36, O, C) -> of the filters (O, C, 3, 3)."""
    _, outputs, channels = gradient.shape
    taps = _KERNEL_2D.T @ gradient.reshape(36, -1)
    return np.ascontiguousarray(taps.T).reshape(outputs, channels, 3, 3)


def _tiles(cells: np.ndarray, size: int, down: int, across: int) -> np.ndarray:
    """View (size, size, down, across, C) of a canvas's cells; tiles of size TILE overlap."""
    rows, columns, channels = cells.strides
    strides = (rows, columns, STEP * rows, STEP * columns, channels)
    return as_strided(cells, (size, size, down, across, cells.shape[2]), strides)


def transform_inputs(canvas: Canvas, x: np.ndarray) -> np.ndarray:
    """The canvas's tiles of x (n, C, H, W), transformed: (36, tiles, C)."""
    (down, across), cells = canvas.tiles, canvas.read(canvas.window(x, 1), 1)
    # A copy: the overlapping view is no matrix that a product could read.
    tiles = np.ascontiguousarray(_tiles(cells, TILE, down, across))
    return (_INPUT_2D @ tiles.reshape(36, -1)).reshape(36, -1, x.shape[1])


def transform_inputs_adjoint(canvas: Canvas, dx: np.ndarray, gradient: np.ndarray, lock: Lock) -> None:
    """Put the gradient of the transformed tiles (36, tiles, C) as that of x into dx (n, C, H, W), at first 0."""
    (down, across), cells = canvas.tiles, canvas.blank(dx.shape[1])
    tiles = (_INPUT_2D.T @ gradient.reshape(36, -1)).reshape(TILE, TILE, down, across, -1)
    for i, j in np.ndindex(TILE, TILE):
        cells[i : i + STEP * down : STEP, j : j + STEP * across : STEP] += tiles[i, j]
    for mine, theirs in canvas.pairs(cells, canvas.window(dx, 1), 1):
        if canvas.overlaps:  # two canvases a cell at most, and a sum of two does not depend on their order
            with lock:
                theirs += mine
        else:
            theirs[...] = mine


def write_outputs(canvas: Canvas, out: np.ndarray, products: np.ndarray, bias: np.ndarray, relu: bool) -> None:
    """Transform products (36, tiles, O) back, add the bias, and store them in out (n, O, H, W)."""
    (down, across), cells = canvas.tiles, canvas.blank(len(bias))
    tiles = (_OUTPUT_2D @ products.reshape(36, -1)).reshape(STEP, STEP, down, across, -1)
    np.add(tiles, bias, out=_tiles(cells, STEP, down, across))
    for mine, theirs in canvas.pairs(cells, canvas.window(out, 0), 0):
        np.maximum(mine, 0, out=theirs) if relu else np.copyto(theirs, mine)


def write_outputs_adjoint(canvas: Canvas, gradient: np.ndarray, out: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Gradient (n, O, H, W) -> of the products (36, tiles, O) and of the bias (O,). out: what a ReLU gave, if there was one."""
    (down, across), channels, gradient = canvas.tiles, gradient.shape[1], canvas.window(gradient, 0)
    if out is not None:
        gradient = gradient * (canvas.window(out, 0) > 0)
    cells = canvas.read(gradient, 0)
    tiles = np.ascontiguousarray(_tiles(cells, STEP, down, across))
    products = (_OUTPUT_2D.T @ tiles.reshape(16, -1)).reshape(36, -1, channels)
    return products, np.ones(16 * down * across, np.float32) @ tiles.reshape(-1, channels)


class _Convolution(PyLayer):
    @staticmethod
    @without_threads_of_the_library
    def forward(ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, relu: bool) -> paddle.Tensor:
        data, shift = array_of(x), array_of(bias)
        filters = np.ascontiguousarray(transform_filters(array_of(weight)).transpose(0, 2, 1))
        out = np.empty((len(data), len(shift), *data.shape[2:]), np.float32)

        def job(canvas: Canvas) -> None:
            write_outputs(canvas, out, transform_inputs(canvas, data) @ filters, shift, relu)

        _in_threads(data.shape, job)
        ctx.save_for_backward(x, weight)
        ctx.learns = [not tensor.stop_gradient for tensor in (x, weight, bias)]
        ctx.out = out if relu else None  # as an array: a tensor would hold its own graph, and with it itself, alive
        return from_dlpack(out)

    @staticmethod
    @without_threads_of_the_library
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        data, upstream = array_of(x), array_of(grad)
        learns_x, learns_weight, learns_bias = ctx.learns
        dx = np.zeros(data.shape, np.float32) if learns_x else None
        lock, filters = Lock(), transform_filters(array_of(weight)) if learns_x else None

        def job(canvas: Canvas) -> list[np.ndarray]:
            products, db = write_outputs_adjoint(canvas, upstream, ctx.out)
            if dx is not None:
                transform_inputs_adjoint(canvas, dx, products @ filters, lock)
            terms = [products.transpose(0, 2, 1) @ transform_inputs(canvas, data)] if learns_weight else []
            return [*terms, db] if learns_bias else terms

        sums = _in_threads(data.shape, job)
        dw = transform_filters_adjoint(sums[0]) if learns_weight else None
        db = sums[-1] if learns_bias else None
        return tuple(None if g is None else from_dlpack(g) for g in (dx, dw, db))


def _in_threads(shape: tuple[int, ...], job: Callable[[Canvas], list[np.ndarray] | None]) -> list[np.ndarray]:
    """Run `job` on every canvas of an (n, C, H, W) batch; the sums of what the jobs return."""
    return summed(canvases(shape), job)
