"""3×3 convolutions on the CPU with a third of the multiplications (Winograd's F(4×4, 3×3); Lavin & Gray, arXiv 1509.09308).

The input is cut into tiles of 6 × 6 that overlap by 2; tiles and filters are transformed, multiplied as 36 matrix products, and
transformed back into 4 × 4 outputs. The interpolation points are 0, ±√½, ±√2 and ∞: with them the error is a quarter of the
usual choice's, about three times that of the plain convolution in float32 (Barabasz et al., arXiv 1803.10986).
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from threading import Lock

import numpy as np
import paddle
from paddle.autograd import PyLayer
from threadpoolctl import ThreadpoolController

TILE, STEP = 6, 4
TILES_A_JOB = 160  # so that a job's buffers stay in the cache
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


def conv3x3(x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """Convolution with stride 1 and padding 1 of float32 CPU tensors, differentiable.

    Args:
        x: (n, C, H, W).
        weight: (O, C, 3, 3).
        bias: (O,).

    Returns:
        (n, O, H, W).
    """
    return _Convolution.apply(x, weight, bias)


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
    """(O, C, 3, 3) -> (36, C, O)."""
    outputs, channels = weight.shape[:2]
    flat = np.kron(_KERNEL, _KERNEL) @ weight.reshape(outputs * channels, 9).T
    return np.ascontiguousarray(flat.astype(np.float32).reshape(36, outputs, channels).transpose(0, 2, 1))


def transform_filters_adjoint(products: np.ndarray) -> np.ndarray:
    """Gradient of the transformed filters (36, C, O) -> of the filters (O, C, 3, 3)."""
    _, channels, outputs = products.shape
    flat = np.kron(_KERNEL, _KERNEL).astype(np.float32).T @ products.reshape(36, -1)
    return np.ascontiguousarray(flat.reshape(3, 3, channels, outputs).transpose(3, 2, 0, 1))


@dataclass(frozen=True)
class _Strip:
    """Tile rows [top, bottom) of the images [first, last) of an (n, C, height, width) map: what one job works on.

    Inside, channels come last, so that a tile's cell is one contiguous row.
    """

    first: int
    last: int
    top: int
    bottom: int
    height: int
    width: int

    @property
    def grid(self) -> tuple[int, int, int]:
        """Images, tile rows, tile columns."""
        return self.last - self.first, self.bottom - self.top, -(-self.width // STEP)

    def _window(self, array: np.ndarray, border: int) -> tuple[np.ndarray, slice]:
        """The strip's rows of a map with `border` rows beyond them, channels last; and their place in a padded strip."""
        start, stop = STEP * self.top - border, STEP * self.bottom + border
        low, high = max(start, 0), min(stop, self.height)
        return array[self.first : self.last, :, low:high].transpose(0, 2, 3, 1), slice(low - start, high - start)

    def transformed(self, x: np.ndarray) -> np.ndarray:
        """Input tiles of x (n, C, H, W), transformed: (36, tiles, C)."""
        images, rows, columns = self.grid
        padded = np.zeros((images, STEP * rows + 2, STEP * columns + 2, x.shape[1]), np.float32)
        window, place = self._window(x, 1)
        padded[:, place, 1 : self.width + 1] = window
        tiles = np.empty((TILE, TILE, images, rows, columns, x.shape[1]), np.float32)
        for i, j in np.ndindex(TILE, TILE):
            tiles[i, j] = padded[:, i : i + STEP * rows - 3 : STEP, j : j + STEP * columns - 3 : STEP]
        return (_INPUT_2D @ tiles.reshape(36, -1)).reshape(36, -1, x.shape[1])

    def add_inputs(self, dx: np.ndarray, gradient: np.ndarray, lock: Lock) -> None:
        """Adjoint of `transformed`: add the gradient (36, tiles, C) of the tiles to dx."""
        images, rows, columns = self.grid
        tiles = (_INPUT_2D.T @ gradient.reshape(36, -1)).reshape(TILE, TILE, images, rows, columns, -1)
        padded = np.zeros((images, STEP * rows + 2, STEP * columns + 2, dx.shape[1]), np.float32)
        for i, j in np.ndindex(TILE, TILE):
            padded[:, i : i + STEP * rows - 3 : STEP, j : j + STEP * columns - 3 : STEP] += tiles[i, j]
        window, place = self._window(dx, 1)
        with lock:  # neighbours share two rows; a sum of two terms does not depend on their order
            window += padded[:, place, 1 : self.width + 1]

    def write_outputs(self, out: np.ndarray, products: np.ndarray, bias: np.ndarray) -> None:
        """Transform products (36, tiles, O) back, add the bias and store them in out (n, O, H, W)."""
        images, rows, columns = self.grid
        cells = (_OUTPUT_2D @ products.reshape(36, -1)).reshape(STEP, STEP, images, rows, columns, -1)
        strip = np.empty((images, rows, STEP, columns, STEP, len(bias)), np.float32)
        for i, j in np.ndindex(STEP, STEP):
            np.add(cells[i, j], bias, out=strip[:, :, i, :, j])
        window, place = self._window(out, 0)
        window[...] = strip.reshape(images, STEP * rows, STEP * columns, -1)[:, place, : self.width]

    def outputs_adjoint(self, gradient: np.ndarray) -> np.ndarray:
        """Adjoint of `write_outputs`: the gradient (n, O, H, W) -> of the products (36, tiles, O)."""
        images, rows, columns = self.grid
        strip = np.zeros((images, STEP * rows, STEP * columns, gradient.shape[1]), np.float32)
        window, place = self._window(gradient, 0)
        strip[:, place, : self.width] = window
        cells = np.ascontiguousarray(strip.reshape(images, rows, STEP, columns, STEP, -1).transpose(2, 4, 0, 1, 3, 5))
        return (_OUTPUT_2D.T @ cells.reshape(16, -1)).reshape(36, -1, gradient.shape[1])


def _strips(shape: tuple[int, ...]) -> list[_Strip]:
    """A map (n, C, H, W) in strips of about TILES_A_JOB tiles: several small images, or a part of a large one."""
    n, _, height, width = shape
    rows, columns = -(-height // STEP), -(-width // STEP)
    images = max(1, TILES_A_JOB // (rows * columns))
    step = rows if images > 1 else max(1, TILES_A_JOB // columns)
    return [
        _Strip(first, min(first + images, n), top, min(top + step, rows), height, width)
        for first in range(0, n, images)
        for top in range(0, rows, step)
    ]


class _Convolution(PyLayer):
    @staticmethod
    def forward(ctx, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
        ctx.save_for_backward(x, weight)
        data, filters, shift = x.numpy(), transform_filters(weight.numpy()), bias.numpy()
        out = np.empty((len(data), len(shift), *data.shape[2:]), np.float32)
        _in_threads(_strips(data.shape), lambda strip: strip.write_outputs(out, strip.transformed(data) @ filters, shift))
        return paddle.to_tensor(out)

    @staticmethod
    def backward(ctx, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight = ctx.saved_tensor()
        data, upstream = x.numpy(), grad.numpy()
        filters = transform_filters(weight.numpy()).transpose(0, 2, 1)
        dx, lock = None if x.stop_gradient else np.zeros(data.shape, np.float32), Lock()

        def job(strip: _Strip) -> np.ndarray:
            products = strip.outputs_adjoint(upstream)
            if dx is not None:
                strip.add_inputs(dx, products @ filters, lock)
            return strip.transformed(data).transpose(0, 2, 1) @ products

        dw = transform_filters_adjoint(_in_threads(_strips(data.shape), job))
        return tuple(None if g is None else paddle.to_tensor(g) for g in (dx, dw, upstream.sum(axis=(0, 2, 3))))


def _in_threads(strips: list[_Strip], job: Callable[[_Strip], np.ndarray | None]) -> np.ndarray | None:
    """Run `job` on every strip; the sum of what the jobs return.

    Each thread has a fixed share of the strips, so that the sum's rounding depends on the number of threads alone. The matrix
    library must not start threads of its own inside them.
    """

    def share(start: int) -> np.ndarray | None:
        total = None
        for strip in strips[start::count]:
            part = job(strip)
            if part is not None:
                total = part if total is None else np.add(total, part, out=total)
        return total

    pool, controller = _machinery()
    count = min(pool._max_workers, len(strips))
    with controller.limit(limits=1, user_api="blas"):
        totals = list(pool.map(share, range(count)))
    return None if totals[0] is None else sum(totals[1:], totals[0])


@cache
def _machinery() -> tuple[ThreadPoolExecutor, ThreadpoolController]:
    return ThreadPoolExecutor(int(os.environ.get("OMP_NUM_THREADS", "1"))), ThreadpoolController()
