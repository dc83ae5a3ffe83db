"""3×3 convolutions of many small regions on the CPU with a quarter of the multiplications.

Winograd's F(4×4, 3×3) (Lavin & Gray, arXiv 1509.09308): the input is cut into tiles of 6 × 6 that overlap by 2; tiles and
filters are transformed, multiplied as 36 matrix products, and transformed back into 4 × 4 outputs. The interpolation points are
0, ±√½, ±√2 and ∞: with them the error is a quarter of the usual choice's, about three times that of the plain convolution in
float32 (after Barabasz et al., arXiv 1803.10986).

The regions are laid out on canvases with one empty row and column between them, which is the padding of both neighbours, so
that few tiles stick out of them.
"""

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache

import numpy as np
import paddle
from paddle.autograd import PyLayer
from paddle.utils.dlpack import from_dlpack
from threadpoolctl import ThreadpoolController

TILE, STEP = 6, 4
COLUMNS, ROWS = 4, 4  # regions of a canvas: about 200 tiles, so that its buffers stay in the cache
MIN_REGIONS, MIN_CHANNELS = 4, 64  # below, the transforms cost more than they save


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
    """Whether `layer` is such a convolution and x (n, C, H, W) a batch of regions, where it pays.

    On one large map Paddle's convolution is a single matrix product and hardly slower; on many small ones it is a product each.
    """
    n, channels = x.shape[:2]
    return (
        x.place.is_cpu_place()
        and paddle.in_dynamic_mode()
        and x.dtype == paddle.float32
        and list(layer._kernel_size) == [3, 3]
        and list(layer._stride) == [1, 1]
        and n >= MIN_REGIONS
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


@dataclass(frozen=True)
class _Canvas:
    """Regions [first, last) of an (n, C, height, width) batch, laid out in rows of COLUMNS: what one job works on.

    On the canvas channels come last, so that a cell is one contiguous row.
    """

    first: int
    last: int
    height: int
    width: int

    @property
    def rows(self) -> int:
        """Regions above each other."""
        return -(-(self.last - self.first) // COLUMNS)

    @property
    def tiles(self) -> tuple[int, int]:
        """Tiles down and across."""
        return -(-(self.rows * (self.height + 1) - 1) // STEP), -(-(COLUMNS * (self.width + 1) - 1) // STEP)

    def blank(self, channels: int) -> np.ndarray:
        """The tiles' cells, a border of 1 and the row and column behind the last regions, all 0."""
        down, across = self.tiles
        return np.zeros((STEP * down + 3, STEP * across + 3, channels), np.float32)

    def pairs(self, canvas: np.ndarray, mine: np.ndarray, border: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The regions' cells on the canvas beside those in `mine`, row by row, both (height, regions, width, C)."""
        height, width = self.height + 1, self.width + 1
        block = canvas[border : border + self.rows * height, border : border + COLUMNS * width]
        for row, cells in enumerate(block.reshape(self.rows, height, COLUMNS, width, -1)):
            regions = mine[row * COLUMNS : (row + 1) * COLUMNS]
            yield cells[:-1, : len(regions), :-1], regions.transpose(2, 0, 3, 1)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """Input tiles of x (n, C, H, W), transformed: (36, tiles, C)."""
        (down, across), canvas = self.tiles, self.blank(x.shape[1])
        for cells, regions in self.pairs(canvas, x[self.first : self.last], 1):
            cells[...] = regions
        tiles = np.empty((TILE, TILE, down, across, x.shape[1]), np.float32)
        for i, j in np.ndindex(TILE, TILE):
            tiles[i, j] = canvas[i : i + STEP * down : STEP, j : j + STEP * across : STEP]
        return (_INPUT_2D @ tiles.reshape(36, -1)).reshape(36, -1, x.shape[1])

    def write_inputs(self, dx: np.ndarray, gradient: np.ndarray) -> None:
        """Adjoint of `transformed`: the gradient (36, tiles, C) of the tiles as that of x, into dx."""
        (down, across), canvas = self.tiles, self.blank(dx.shape[1])
        tiles = (_INPUT_2D.T @ gradient.reshape(36, -1)).reshape(TILE, TILE, down, across, -1)
        for i, j in np.ndindex(TILE, TILE):
            canvas[i : i + STEP * down : STEP, j : j + STEP * across : STEP] += tiles[i, j]
        for cells, regions in self.pairs(canvas, dx[self.first : self.last], 1):
            regions[...] = cells

    def write_outputs(self, out: np.ndarray, products: np.ndarray, bias: np.ndarray, relu: bool) -> None:
        """Transform products (36, tiles, O) back, add the bias, and store them in out (n, O, H, W)."""
        (down, across), canvas = self.tiles, self.blank(len(bias))
        tiles = (_OUTPUT_2D @ products.reshape(36, -1)).reshape(STEP, STEP, down, across, -1)
        for i, j in np.ndindex(STEP, STEP):
            np.add(tiles[i, j], bias, out=canvas[i : STEP * down : STEP, j : STEP * across : STEP])
        for cells, regions in self.pairs(canvas, out[self.first : self.last], 0):
            np.maximum(cells, 0, out=regions) if relu else np.copyto(regions, cells)

    def outputs_adjoint(self, gradient: np.ndarray, out: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        """Adjoint of `write_outputs`: gradients of the products (36, tiles, O) and of the bias (O,).

        Where there was a ReLU, out is what it gave.
        """
        (down, across), canvas = self.tiles, self.blank(gradient.shape[1])
        gradient = gradient[self.first : self.last]
        if out is not None:
            gradient = gradient * (out[self.first : self.last] > 0)
        for cells, regions in self.pairs(canvas, gradient, 0):
            cells[...] = regions
        tiles = np.empty((STEP, STEP, down, across, gradient.shape[1]), np.float32)
        for i, j in np.ndindex(STEP, STEP):
            tiles[i, j] = canvas[i : STEP * down : STEP, j : STEP * across : STEP]
        return (_OUTPUT_2D.T @ tiles.reshape(16, -1)).reshape(36, -1, tiles.shape[-1]), _ones(
            tiles.size // tiles.shape[-1]
        ) @ tiles.reshape(-1, tiles.shape[-1])


class _Convolution(PyLayer):
    @staticmethod
    def forward(ctx, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, relu: bool) -> paddle.Tensor:
        data, shift = _array(x), _array(bias)
        filters = np.ascontiguousarray(transform_filters(_array(weight)).transpose(0, 2, 1))
        out = np.empty((len(data), len(shift), *data.shape[2:]), np.float32)
        _in_threads(data.shape, lambda canvas: canvas.write_outputs(out, canvas.transformed(data) @ filters, shift, relu))
        ctx.save_for_backward(x, weight)
        ctx.out = out if relu else None  # as an array: a tensor would hold its own graph, and with it itself, alive
        return from_dlpack(out)

    @staticmethod
    def backward(ctx, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        data, upstream = _array(x), _array(grad)
        dx = None if x.stop_gradient else np.empty(data.shape, np.float32)
        filters = None if dx is None else transform_filters(_array(weight))

        def job(canvas: _Canvas) -> tuple[np.ndarray, np.ndarray]:
            products, db = canvas.outputs_adjoint(upstream, ctx.out)
            if dx is not None:
                canvas.write_inputs(dx, products @ filters)
            return products.transpose(0, 2, 1) @ canvas.transformed(data), db

        dw, db = _in_threads(data.shape, job)
        return tuple(None if g is None else from_dlpack(g) for g in (dx, transform_filters_adjoint(dw), db))


@cache
def _ones(count: int) -> np.ndarray:
    return np.ones(count, np.float32)


def _array(tensor: paddle.Tensor) -> np.ndarray:
    """The tensor's own memory as an array."""
    return np.from_dlpack(tensor.detach())


def _in_threads(shape: tuple[int, ...], job: Callable[[_Canvas], tuple[np.ndarray, ...] | None]) -> list[np.ndarray]:
    """Run `job` on every canvas of an (n, C, H, W) batch; the sums of what the jobs return.

    Each thread has a fixed share of the canvases, so that the sums' rounding depends on the number of threads alone. The matrix
    library must not start threads of its own inside them.
    """
    pool, controller = _machinery()
    n, _, height, width = shape
    threads = pool._max_workers
    rows = -(-n // COLUMNS)
    count = min(rows, threads * -(-rows // (threads * ROWS)))
    edges = [min(n, COLUMNS * (rows * k // count)) for k in range(count + 1)]
    canvases = [_Canvas(first, last, height, width) for first, last in zip(edges, edges[1:])]

    def share(start: int) -> list[np.ndarray]:
        sums: list[np.ndarray] = []
        for canvas in canvases[start::threads]:
            parts = job(canvas) or ()
            sums = [np.add(s, p, out=s) for s, p in zip(sums, parts)] if sums else list(parts)
        return sums

    with controller.limit(limits=1, user_api="blas"):
        shares = list(pool.map(share, range(min(threads, count))))
    return [sum(parts[1:], parts[0]) for parts in zip(*shares)]


@cache
def _machinery() -> tuple[ThreadPoolExecutor, ThreadpoolController]:
    return ThreadPoolExecutor(int(os.environ.get("OMP_NUM_THREADS", "1"))), ThreadpoolController()
