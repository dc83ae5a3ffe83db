"""1×1 convolutions with a stride on the CPU, a residual network's shortcuts: of the pixels that they look at.

Paddle unfolds the map, in one thread, though there is nothing to unfold.
"""

from typing import Any

import numpy as np
import paddle
from paddle.autograd import PyLayer

from .channelwise import image_blocks
from .seam import takes_ours
from .threads import aligned, array_of, summed, tensor_of


def every(x: paddle.Tensor, stride: int) -> paddle.Tensor:
    """Every `stride`th pixel of every `stride`th row of float32 CPU maps (n, C, H, W), from the first on; differentiable."""
    return _Every.apply(x, stride)


def applies(x: paddle.Tensor, layer: paddle.nn.Conv2D) -> bool:
    """Whether `layer` is such a convolution of x (n, C, H, W)."""
    return (
        list(layer._kernel_size) == [1, 1]
        and layer._stride[0] == layer._stride[1] > 1
        and takes_ours(x)
        and x.dtype == paddle.float32
        and layer._updated_padding in (0, [0, 0], [0, 0, 0, 0])
    )


class _Every(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, stride: int) -> paddle.Tensor:
        ctx.shape, ctx.stride = x.shape, stride
        data = array_of(x)[:, :, ::stride, ::stride]
        out = aligned(data.shape)
        summed(_jobs(ctx.shape), lambda part: np.copyto(out[part], data[part]))
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> paddle.Tensor:
        dx, upstream = aligned(ctx.shape), array_of(grad)

        def spread(part: tuple[int, slice]) -> None:
            dx[part] = 0
            dx[part][:, :: ctx.stride, :: ctx.stride] = upstream[part]

        summed(_jobs(ctx.shape), spread)
        return tensor_of(dx)


def _jobs(shape: list[int]) -> list[tuple[int, slice]]:
    images, channels, height, width = shape
    return image_blocks((images, channels, height * width))
