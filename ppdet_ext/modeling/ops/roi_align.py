"""RoIAlign over a feature pyramid: on the CPU as one sparse matrix product, elsewhere by Paddle's operator."""

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle.autograd import PyLayer
from scipy.sparse import csr_matrix

from ppdet_ext.errors import DivergenceError

from .bilinear import bin_weights
from .seam import in_float32, takes_ours

# Regions are pooled together whose bins reach over up to so many cells: few groups, little padding.
_SPANS = np.array([2, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32, 48, 64, 96, 128, 256, 512, 1024])


class Pyramid:
    """Feature maps of one batch, with their strides, that regions are pooled from.

    Args:
        maps: per level (B, C, H, W) float32.
        strides: px of one cell, per level, ascending.
        finest_size: regions of up to twice this side (px, √area) are pooled from the first level (FPN, arXiv 1612.03144 eq. 1).
    """

    def __init__(self, maps: list[paddle.Tensor], strides: list[int], finest_size: int = 56):
        self.maps = [in_float32(m) for m in maps]
        self.strides = strides
        self.finest_size = finest_size
        self._matrix: paddle.Tensor | None = None

    @property
    def matrix(self) -> paddle.Tensor:
        """All cells of all levels and images, (cells, C); made once, since every stage pools from it."""
        if self._matrix is None:
            channels = self.maps[0].shape[1]
            self._matrix = paddle.concat([m.transpose([0, 2, 3, 1]).reshape([-1, channels]) for m in self.maps])
        return self._matrix

    def level_of(self, boxes: np.ndarray) -> np.ndarray:
        """Level each box (n, 4) is pooled from, (n,) int64."""
        side = np.sqrt(np.clip(boxes[:, 2] - boxes[:, 0], 0, None) * np.clip(boxes[:, 3] - boxes[:, 1], 0, None))
        level = np.floor(np.log2(side / self.finest_size + 1e-6))
        return np.clip(level, 0, len(self.maps) - 1).astype(np.int64)

    def pool(self, rois: np.ndarray, size: int, merge: int = 1) -> paddle.Tensor:
        """Aligned RoIAlign with adaptive sampling (sampling ratio 0); 0 of a region without extent.

        Args:
            rois: (n, 5) float32: image index in the batch, x1, y1, x2, y2 in px.
            size: output cells along each side.
            merge: the result is RoIAlign at `merge`·size followed by `merge` × `merge` average pooling.

        Returns:
            (n, C, size, size) float32.

        Raises:
            DivergenceError: a roi is NaN or infinite, on which Paddle's own operator would abort the process.
        """
        if not np.isfinite(rois).all():
            raise DivergenceError("a region of interest is not finite")
        if len(rois) == 0:
            return paddle.zeros([0, self.maps[0].shape[1], size, size])
        if takes_ours(self.maps[0]):
            return self._pool_sparse(rois, size, merge)
        return self._pool_native(rois, size, merge)

    def _pool_sparse(self, rois: np.ndarray, size: int, merge: int) -> paddle.Tensor:
        """Paddle's CPU operator visits every channel at every sample; here a sample's channels are one contiguous row."""
        operator, order = pooling_operator(
            rois, self.level_of(rois[:, 1:]), [tuple(m.shape) for m in self.maps], self.strides, size, merge
        )
        rows = _SparseProduct.apply(self.matrix, operator)
        rows = rows.reshape([len(rois), size * size, -1])
        # The operator's rows stand by extent; regions go back to the caller's order.
        if not np.array_equal(order, np.arange(len(rois))):
            rows = paddle.gather(rows, paddle.to_tensor(np.argsort(order)))
        return rows.transpose([0, 2, 1]).reshape([len(rois), -1, size, size])

    def _pool_native(self, rois: np.ndarray, size: int, merge: int) -> paddle.Tensor:
        """Paddle's operator, level by level."""
        # Of a region without extent it would give 0 / 0, and a gradient of NaN; its row is a row of zeros.
        real = (rois[:, 3:] > rois[:, 1:3]).all(axis=1)
        zero = paddle.zeros([1, self.maps[0].shape[1], size, size])
        if not real.any():
            return zero.tile([len(rois), 1, 1, 1])
        pooled = self._pool_levels(rois[real], size, merge)
        if real.all():
            return pooled
        row = np.where(real, np.cumsum(real) - 1, len(pooled))
        return paddle.gather(paddle.concat([pooled, zero]), paddle.to_tensor(row))

    def _pool_levels(self, rois: np.ndarray, size: int, merge: int) -> paddle.Tensor:
        level, batch = self.level_of(rois[:, 1:]), len(self.maps[0])
        order = np.lexsort((rois[:, 0], level))  # Paddle wants rois grouped by image
        pooled = []
        for k, (feature, stride) in enumerate(zip(self.maps, self.strides)):
            part = rois[order[level[order] == k]]
            if len(part):
                count = np.bincount(part[:, 0].astype(np.int64), minlength=batch).astype(np.int32)
                pooled.append(
                    paddle.vision.ops.roi_align(
                        feature,
                        paddle.to_tensor(part[:, 1:]),
                        paddle.to_tensor(count),
                        size * merge,
                        1.0 / stride,
                        sampling_ratio=0,
                        aligned=True,
                    )
                )
        out = paddle.gather(paddle.concat(pooled), paddle.to_tensor(np.argsort(order)))
        return F.avg_pool2d(out, merge) if merge > 1 else out


def pooling_operator(
    rois: np.ndarray, level: np.ndarray, shapes: list[tuple[int, ...]], strides: list[int], size: int, merge: int = 1
) -> tuple[csr_matrix, np.ndarray]:
    """RoIAlign as a matrix: (operator @ cells) is (n·size·size, C).

    Args:
        rois: (n, 5) float32, as in `Pyramid.pool`.
        level: (n,) int64.
        shapes: (B, C, H, W) of each level; the cells are stacked level by level, image by image, row by row.

    Returns:
        The operator, with regions reordered so that those of like extent stand together, and that order: block k of the
        operator is region order[k].
    """
    data, cells, counts, order = [], [], [], []
    base = 0
    for k, ((batch, _, height, width), stride) in enumerate(zip(shapes, strides)):
        index = np.flatnonzero(level == k)
        if index.size:
            image = rois[index, 0].astype(np.int64)
            first, weight = zip(
                _axis(rois[index][:, [2, 4]], stride, height, size, merge),
                _axis(rois[index][:, [1, 3]], stride, width, size, merge),
            )
            for rows in _groups(*weight):
                block = _outer(first, weight, rows, base + image[rows] * height * width, height, width)
                data.append(block[0].ravel())
                cells.append(block[1].ravel())
                counts.append(np.full(len(rows) * size * size, block[0].shape[1] // (size * size)))
                order.append(index[rows])
        base += batch * height * width
    # Built as CSR at once, row after row: from coordinates scipy would have to sort.
    indptr = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    operator = csr_matrix(
        (np.concatenate(data), np.concatenate(cells).astype(np.int32), indptr.astype(np.int32)),
        shape=(len(rois) * size * size, base),
    )
    return operator, np.concatenate(order)


def _axis(ends: np.ndarray, stride: int, length: int, size: int, merge: int) -> tuple[np.ndarray, np.ndarray]:
    """`bin_weights` of the regions' extents (n, 2) px along one axis of `length` cells."""
    scale = np.float32(1.0 / stride)
    start = ends[:, 0] * scale - np.float32(0.5)
    extent = ends[:, 1] * scale - np.float32(0.5) - start
    # A bin of the merged size holds `merge` bins of the fine one, each with its own samples.
    samples = merge * np.ceil(extent / np.float32(size * merge)).astype(np.int64)
    return bin_weights(start, extent, size, np.maximum(samples, 0), length)


def _groups(wy: np.ndarray, wx: np.ndarray) -> list[np.ndarray]:
    """Rows of regions whose bins reach over a like number of cells, so that each group is one dense outer product."""
    spans = [np.minimum(_SPANS[np.searchsorted(_SPANS, _reach(w))], w.shape[2]) for w in (wy, wx)]
    key = spans[0] * 4096 + spans[1]  # a pair as one number; spans end at 1024
    return [np.flatnonzero(key == k) for k in np.unique(key)]


def _reach(weight: np.ndarray) -> np.ndarray:
    """Cells that the widest bin of each region needs, at least 1."""
    used = (weight != 0).any(axis=1)
    return np.where(used.any(axis=1), weight.shape[2] - np.argmax(used[:, ::-1], axis=1), 1)


def _outer(
    first: tuple[np.ndarray, ...],
    weight: tuple[np.ndarray, ...],
    rows: np.ndarray,
    base: np.ndarray,
    height: int,
    width: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Entries and cell numbers of the regions `rows`, each (rows, bins·bins·spans)."""
    reach = [int(_reach(w[rows]).max()) for w in weight]
    reach = [min(int(_SPANS[np.searchsorted(_SPANS, r)]), w.shape[2]) for r, w in zip(reach, weight)]
    wy, wx = (w[rows, :, :r] for w, r in zip(weight, reach))
    # Cells beyond the map have weight 0, but must be cells all the same.
    y, x = (np.minimum(f[rows, :, None] + np.arange(r), limit - 1) for f, r, limit in zip(first, reach, (height, width)))
    data = wy[:, :, None, :, None] * wx[:, None, :, None, :]
    cells = (base[:, None, None] + y * width)[:, :, None, :, None] + x[:, None, :, None, :]
    return data.reshape(len(rows), -1), cells.reshape(len(rows), -1)


class _SparseProduct(PyLayer):
    """operator @ matrix, differentiable in the matrix."""

    @staticmethod
    def forward(ctx: Any, matrix: paddle.Tensor, operator: csr_matrix) -> paddle.Tensor:
        ctx.operator = operator
        return paddle.to_tensor(operator @ matrix.numpy())

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> paddle.Tensor:
        return paddle.to_tensor(ctx.operator.T @ grad.numpy())
