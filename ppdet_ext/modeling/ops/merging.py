"""What a decoder does before its head, in threads on the CPU: levels added in one pass, and channels left out."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn
from paddle.autograd import PyLayer

from .channelwise import applies, flat, image_blocks
from .gates import scale_maps
from .threads import aligned, array_of, copied, summed, tensor_of


def added(levels: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """Sum of maps (B, C, H, W), from the first to the last; differentiable."""
    if len(levels) < 2 or not all(applies(level, levels[0]) for level in levels):
        return paddle.add_n(list(levels))
    return _Added.apply(*levels)


class _Added(PyLayer):
    @staticmethod
    def forward(ctx: Any, *levels: paddle.Tensor) -> paddle.Tensor:
        ctx.learns = [not level.stop_gradient for level in levels]
        out = aligned(levels[0].shape)
        into, (first, second, *others) = out.reshape(*out.shape[:2], -1), map(flat, levels)

        def add(part: tuple[int, slice]) -> None:
            np.add(first[part], second[part], out=into[part])
            for other in others:
                into[part] += other[part]

        summed(image_blocks(into.shape), add)
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        # Paddle adds to a level's gradient in its memory, where the level goes elsewhere, too: each has its own.
        mine, *others = [i for i, learns in enumerate(ctx.learns) if learns]
        found: list[paddle.Tensor | None] = [None] * len(ctx.learns)
        found[mine] = grad
        for other in others:
            found[other] = tensor_of(copied(array_of(grad)))
        return tuple(found)


class Dropout2D(nn.Dropout2D):
    """paddle.nn.Dropout2D, with the same draws and the same bits; on a CPU in one pass."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        if not self.training or not self.p or not applies(x, x):
            return super().forward(x)
        return _Scaled.apply(x, super().forward(paddle.ones([*x.shape[:2], 1, 1], x.dtype)))


class _Scaled(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, factors: paddle.Tensor) -> paddle.Tensor:
        ctx.factors = array_of(factors)[:, :, 0, 0].copy()
        return _scaled(x, ctx.factors)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor, None]:
        return _scaled(grad, ctx.factors), None


def _scaled(x: paddle.Tensor, factors: np.ndarray) -> paddle.Tensor:
    out = aligned(x.shape)
    maps = flat(x)
    scale_maps(maps, factors, None, out.reshape(maps.shape))
    return tensor_of(out)
