"""Anchors of the region proposal network, (H, W, A) order, centred at multiples of the stride."""

from functools import lru_cache

import numpy as np
import paddle


class AnchorGrid:
    """Three (by default) anchors at every cell of every pyramid level.

    Unlike ppdet's AnchorGenerator there is no half-stride offset, and the sizes follow each level's stride (Faster R-CNN
    with FPN, arXiv 1612.03144 §4.1, as the reference places them).

    Args:
        strides: px of one cell, per level.
        ratios: heights over widths.
        scale: anchor side = scale × stride.
    """

    def __init__(
        self,
        strides: tuple[int, ...] = (4, 8, 16, 32, 64),
        ratios: tuple[float, ...] = (0.5, 1.0, 2.0),
        scale: float = 8.0,
    ):
        self.strides = tuple(strides)
        self.ratios = tuple(ratios)
        self.scale = scale

    @property
    def per_cell(self) -> int:
        """Anchors at each cell."""
        return len(self.ratios)

    def base(self, level: int) -> np.ndarray:
        """Anchors of one cell at the origin, (A, 4) float32."""
        root = np.sqrt(np.asarray(self.ratios, np.float64))
        half = np.stack([self.scale * self.strides[level] / root, self.scale * self.strides[level] * root], 1) / 2
        return np.concatenate([-half, half], axis=1).astype(np.float32)

    def level(self, level: int, height: int, width: int) -> np.ndarray:
        """Anchors of one level of `height` × `width` cells, (height·width·A, 4) float32. Do not write into it."""
        return _tile(self, level, height, width)

    def levels(self, sizes: tuple[tuple[int, int], ...]) -> np.ndarray:
        """Anchors of maps of these sizes (height, width), finest first, (n, 4) float32. Do not write into it."""
        return _joined(self, sizes)

    def of_map(self, level: int, feature: paddle.Tensor) -> paddle.Tensor:
        """`level` of a map (B, …, height, width) whose size may be unknown, as in a traced graph: (height·width·A, 4)."""
        stride = self.strides[level]
        ones = paddle.ones_like(feature[:1, :1])
        y, x = ((paddle.cumsum(ones, axis=axis) - 1.0) * stride for axis in (2, 3))
        shift = paddle.concat([x, y, x, y]).transpose([1, 2, 3, 0]).reshape([-1, 1, 4])
        return (shift + paddle.to_tensor(self.base(level))).reshape([-1, 4])


@lru_cache(maxsize=8)
def _joined(grid: AnchorGrid, sizes: tuple[tuple[int, int], ...]) -> np.ndarray:
    anchors = np.concatenate([grid.level(k, *size) for k, size in enumerate(sizes)])
    anchors.flags.writeable = False
    return anchors


@lru_cache(maxsize=64)
def _tile(grid: AnchorGrid, level: int, height: int, width: int) -> np.ndarray:
    stride = grid.strides[level]
    x, y = np.meshgrid(np.arange(width) * stride, np.arange(height) * stride)
    shift = np.stack([x, y, x, y], axis=-1).astype(np.float32)
    anchors = (shift[:, :, None] + grid.base(level)).reshape(-1, 4)
    anchors.flags.writeable = False
    return anchors
