"""Deformable convolution, v1 (arXiv 1703.06211) and v2 (arXiv 1811.11168): on the CPU as sparse products, elsewhere Paddle's.

Paddle's CPU operator is exact, but its backward pass goes through the samples channel by channel: at the layers of
ResNeXt-101 (256 × 1600 px) it takes 15 to 60 times as long as that of a plain convolution, here 2 to 3 times
(`benchmarks/bench_deform_conv.py`). With one set of offsets for all channels, sampling is one sparse matrix.
"""

from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer
from paddle.nn.initializer import Constant
from scipy.sparse import csr_matrix

from ppdet_ext.errors import DivergenceError

from . import traced_deform_conv
from .seam import is_converted, takes_ours


class DeformConv2D(nn.Layer):
    """A convolution whose samples are moved by offsets that a second convolution predicts from the same input.

    The offsets start at zero, so that v1 starts as the plain convolution (v2 as half of it: its modulation is sigmoid(0)).

    Args:
        plain: the convolution that becomes deformable, square, padded by half its size, without bias; its weight is taken over.
        modulated: v2, in which each sample has a learnt weight between 0 and 1, too.
    """

    def __init__(self, plain: nn.Conv2D, modulated: bool = False):
        super().__init__()
        self.weight, self.groups, self.modulated = plain.weight, plain._groups, modulated
        self.stride, self.padding = plain._stride[0], self.weight.shape[2] // 2
        self.samples = self.weight.shape[2] ** 2
        zero = paddle.ParamAttr(initializer=Constant(0.0))
        self.conv_offset = nn.Conv2D(
            plain._in_channels,
            (3 if modulated else 2) * self.samples,
            self.weight.shape[2:],
            stride=self.stride,
            padding=self.padding,
            weight_attr=zero,
            bias_attr=paddle.ParamAttr(initializer=Constant(0.0)),
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C_in, H, W) -> (B, C_out, H', W')."""
        offset, mask = self.conv_offset(x), None
        if self.modulated:
            offset, mask = paddle.split(offset, [2 * self.samples, self.samples], axis=1)
            mask = F.sigmoid(mask)
        return deform_conv2d(x, offset, self.weight, mask, self.stride, self.padding, self.groups)


def deform_conv2d(
    x: paddle.Tensor,
    offset: paddle.Tensor,
    weight: paddle.Tensor,
    mask: paddle.Tensor | None = None,
    stride: int = 1,
    padding: int = 1,
    groups: int = 1,
) -> paddle.Tensor:
    """Convolution at displaced samples, bilinear; one set of offsets for all channels.

    A sample counts where −1 < y < H and −1 < x < W; its neighbours outside the map are 0.

    Args:
        x: (B, C_in, H, W) float32.
        offset: (B, 2·k·k, H', W') float32 cells: y and x of the first kernel cell, of the second, …
        weight: (C_out, C_in / groups, k, k).
        mask: (B, k·k, H', W') factor of each sample; None for v1.
        stride, padding, groups: as of a plain convolution.

    Raises:
        DivergenceError: an offset is NaN or infinite (on the CPU, where it would pass for a sample outside).
    """
    if is_converted():
        return traced_deform_conv.deform_conv2d(x, offset, weight, mask, stride, padding, groups)
    if not takes_ours(x):
        return paddle.vision.ops.deform_conv2d(x, offset, weight, None, stride, padding, 1, 1, groups, mask)
    if not bool(paddle.isfinite(offset).all()):
        raise DivergenceError("the offsets of a deformable convolution are not finite")
    inputs = (x, offset, weight) if mask is None else (x, offset, weight, mask)
    return _SparseDeformConv.apply(*inputs, stride=stride, padding=padding, groups=groups)


class _SparseDeformConv(PyLayer):
    """Image by image: samples = sampling matrix @ cells, then a matrix product a group; made again for backward."""

    @staticmethod
    def forward(
        ctx: Any,
        x: paddle.Tensor,
        offset: paddle.Tensor,
        weight: paddle.Tensor,
        mask: paddle.Tensor | None = None,
        *,
        stride: int,
        padding: int,
        groups: int,
    ) -> paddle.Tensor:
        ctx.save_for_backward(x, offset, weight, mask)
        ctx.learns = [not t.stop_gradient for t in (x, offset, weight, mask) if t is not None]
        ctx.geometry = (weight.shape[2], stride, padding)
        ctx.groups = groups
        kernels = _grouped(weight, groups)
        size = offset.shape[2:]
        out = []
        for b in range(x.shape[0]):
            place = _Samples(offset[b].numpy(), x.shape[2:], *ctx.geometry)
            samples = _modulate(place.at(0) @ _cells(x[b]), None if mask is None else mask[b])
            product = paddle.bmm(_by_group(samples, groups, kernels.shape[1]), kernels)
            out.append(product.transpose([0, 2, 1]).reshape([-1, *size]))
        return paddle.stack(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, offset, weight, mask = ctx.saved_tensor()
        groups, kernels = ctx.groups, _grouped(weight, ctx.groups)
        d_kernels, d_x, d_offset, d_mask = paddle.zeros_like(kernels), [], [], []
        # The samples are made again: kept, they would take nine times the memory of the input.
        for b in range(x.shape[0]):
            place, cells = _Samples(offset[b].numpy(), x.shape[2:], *ctx.geometry), _cells(x[b])
            factor = None if mask is None else mask[b]
            plain = place.at(0) @ cells
            d_out = grad[b].reshape([groups, kernels.shape[2], -1])
            d_kernels += paddle.matmul(
                _by_group(_modulate(plain, factor), groups, kernels.shape[1]), d_out, transpose_x=True, transpose_y=True
            )
            d_samples = _from_group(paddle.matmul(d_out, kernels, transpose_x=True, transpose_y=True), *plain.shape)
            if mask is not None:
                d_mask.append(_row_dots(plain, d_samples).reshape(-1, mask.shape[1]).T.reshape(mask.shape[1:]))
                d_samples = _modulate(d_samples, factor)
            moves = [_row_dots(place.at(axis) @ cells, d_samples) for axis in (1, 2)]
            d_offset.append(np.stack(moves, 1).reshape(-1, offset.shape[1]).T.reshape(offset.shape[1:]))
            d_x.append((place.at(0).T @ d_samples).T.reshape(x.shape[1:]))
        d_weight = d_kernels.reshape([groups, weight.shape[2] * weight.shape[3], weight.shape[1], -1])
        # A copy: DataParallel garbles a gradient that is a transposed view.
        d_weight = d_weight.transpose([0, 3, 2, 1]).reshape(weight.shape).contiguous()
        grads = [paddle.to_tensor(np.stack(d_x)), paddle.to_tensor(np.stack(d_offset)), d_weight]
        if mask is not None:
            grads.append(paddle.to_tensor(np.stack(d_mask)))
        return tuple(value if learns else None for value, learns in zip(grads, ctx.learns))


class _Samples:
    """Where the samples of one image lie: rows are (output cell, kernel cell), columns the cells of the input map.

    Args:
        offset: (2·k·k, H', W') cells.
        shape: H, W of the input map.
        kernel, stride, padding: of the convolution.
    """

    def __init__(self, offset: np.ndarray, shape: list[int], kernel: int, stride: int, padding: int):
        self.shape = tuple(shape)
        rows, columns = np.indices(offset.shape[1:]) * stride - padding
        moved = offset.reshape(kernel * kernel, 2, -1).transpose(1, 2, 0)
        inside: np.ndarray = np.ones(1, bool)
        self.low, self.share = [], []
        for start, move, step, length in zip((rows, columns), moved, np.indices((kernel, kernel)), shape):
            at = move + (start.reshape(-1, 1) + step.reshape(-1)).astype(np.float32)
            # Up to one cell outside a sample still sees the border's cells, as the operator has it.
            inside = inside & (at > -1) & (at < length)
            at = np.clip(at, -1, length)  # far offsets must not overflow int32 below
            low = np.floor(at)
            self.low.append(low.astype(np.int32).ravel())
            self.share.append((at - low).ravel())
        self.inside = inside.ravel()

    def at(self, derivative: int) -> csr_matrix:
        """Bilinear weights (0), or how they change with the sample's y (1) or x (2)."""
        weights = []
        for axis, share in enumerate(self.share, start=1):
            change = (np.full_like(share, -1), np.ones_like(share))
            weights.append(change if axis == derivative else (1 - share, share))
        # Four entries in every row, zeros included: the pointers are then a plain range.
        data, cells = np.empty((len(self.inside), 4), np.float32), np.empty((len(self.inside), 4), np.int32)
        for k, (i, j) in enumerate(((0, 0), (0, 1), (1, 0), (1, 1))):
            y, x = self.low[0] + i, self.low[1] + j
            known = self.inside & (y >= 0) & (y < self.shape[0]) & (x >= 0) & (x < self.shape[1])
            data[:, k] = np.where(known, weights[0][i] * weights[1][j], 0)
            cells[:, k] = np.where(known, y * self.shape[1] + x, 0)
        pointers = np.arange(0, data.size + 1, 4, dtype=np.int32)
        return csr_matrix((data.ravel(), cells.ravel(), pointers), shape=(len(data), self.shape[0] * self.shape[1]))


def _cells(x: paddle.Tensor) -> np.ndarray:
    """(C, H, W) -> (H·W, C), contiguous."""
    return np.ascontiguousarray(x.numpy().reshape(x.shape[0], -1).T)


def _modulate(samples: np.ndarray, factor: paddle.Tensor | None) -> np.ndarray:
    """Each sample (row) times its factor (k·k, H', W')."""
    return samples if factor is None else samples * factor.numpy().reshape(factor.shape[0], -1).T.reshape(-1, 1)


def _row_dots(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", a, b)


def _grouped(weight: paddle.Tensor, groups: int) -> paddle.Tensor:
    """(C_out, C_in / g, k, k) -> (g, k·k·C_in / g, C_out / g)."""
    outputs, inputs = weight.shape[:2]
    by_group = weight.reshape([groups, outputs // groups, inputs, -1])
    return by_group.transpose([0, 3, 2, 1]).reshape([groups, -1, outputs // groups])


def _by_group(samples: np.ndarray, groups: int, width: int) -> paddle.Tensor:
    """Samples (H'·W'·k·k, C) -> (g, H'·W', width), width = k·k·C / g."""
    channels = samples.shape[1] // groups
    split = paddle.to_tensor(samples).reshape([-1, width // channels, groups, channels])
    return split.transpose([2, 0, 1, 3]).reshape([groups, -1, width])


def _from_group(grouped: paddle.Tensor, rows: int, channels: int) -> np.ndarray:
    """(g, H'·W', k·k·C / g) -> (H'·W'·k·k, C)."""
    groups, cells = grouped.shape[:2]
    split = grouped.reshape([groups, cells, -1, channels // groups])
    return split.transpose([1, 2, 0, 3]).reshape([rows, channels]).numpy()
