"""Group normalisation and ReLU as one operator of the CPU: a few groups at a time, in threads, while they are in the cache."""

from typing import Any

import numpy as np
import paddle
from paddle.autograd import PyLayer

from .channelwise import affine, asks_for_gradient, blocks, broadcasting
from .norm_residual import is_far, rectify
from .threads import aligned, array_of, summed, tensor_of


def normalized_relu(x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, groups: int, epsilon: float) -> paddle.Tensor:
    """ReLU of the maps normalised by each group of channels; differentiable by all three tensors. float32 on a CPU.

    Args:
        x: (n, C, H, W), which nobody else needs, neither its operator for its own gradient: its memory is used for what is
            returned, or else for x's gradient.
        weight, bias: (C,).
        groups: a divisor of C.
        epsilon: added to the variance.

    Returns:
        (n, C, H, W).
    """
    work = _Work(x, array_of(weight), array_of(bias), groups, epsilon)
    if asks_for_gradient(x, weight, bias):
        return _Normalized.apply(x, weight, bias, work)
    work.forward(work.maps)
    return x


class _Normalized(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, work: "_Work") -> paddle.Tensor:
        ctx.save_for_backward(x)
        ctx.learns, ctx.private = [not tensor.stop_gradient for tensor in (x, weight, bias)], not x.is_leaf
        out = aligned(x.shape)
        # An array: the tensor would hold its own graph, and with it itself, alive.
        ctx.work, ctx.out = work, out.reshape(work.maps.shape)
        work.forward(ctx.out)
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        (x,), shape = ctx.saved_tensor(), ctx.work.maps.shape
        # The tensor itself: of an array of its memory Paddle makes one whose end it waits for forever.
        dx = x.detach() if ctx.private else tensor_of(aligned(x.shape))
        found = ctx.work.backward(array_of(grad).reshape(shape), ctx.out, array_of(dx).reshape(shape))
        return tuple(one if learns else None for one, learns in zip([dx, *map(tensor_of, found)], ctx.learns))


class _Work:
    """Both passes, over maps (n · groups, channels of a group, pixels), and what the second needs of the first."""

    def __init__(self, x: paddle.Tensor, weight: np.ndarray, bias: np.ndarray, groups: int, epsilon: float):
        images, channels = x.shape[:2]
        self.images, self.epsilon = images, np.float32(epsilon)
        self.maps = array_of(x).reshape(images * groups, channels // groups, -1)
        self.weight, self.bias = (np.tile(one, images).reshape(self.maps.shape[:2]) for one in (weight, bias))
        self.mean, self.variance = np.empty((2, len(self.maps), 1), np.float32)

    def forward(self, out: np.ndarray) -> None:
        """Write what comes out to `out`, which may be the maps' own memory."""

        def run(part: slice) -> None:
            maps, into = self.maps[part], out[part]
            count = np.float32(maps[0].size)
            mean = np.einsum("gcp->gc", maps).sum(axis=1, keepdims=True) / count
            variance = np.einsum("gcp,gcp->gc", maps, maps).sum(axis=1, keepdims=True) / count - mean**2
            if is_far(mean, variance):
                centred = maps - mean[..., None]
                variance = np.einsum("gcp,gcp->gc", centred, centred).sum(axis=1, keepdims=True) / count
            self.mean[part], self.variance[part] = mean, variance
            scale = self.weight[part] * self._inverse(part)
            shift = self.bias[part] - mean * scale
            flat = (-1, maps.shape[2])
            affine(maps.reshape(flat), scale.ravel(), shift.ravel(), into.reshape(flat))
            np.maximum(into, 0, out=into)

        self._in_blocks(run)

    def backward(self, upstream: np.ndarray, out: np.ndarray, dx: np.ndarray) -> list[np.ndarray]:
        """Gradients (C,) of weight and bias; that of the maps is written to `dx`, which may be their own memory."""
        of_weight, of_bias = np.empty((2, *self.weight.shape), np.float32)

        def run(part: slice) -> None:
            maps, mean, inverse, weight = self.maps[part], self.mean[part], self._inverse(part), self.weight[part]
            inner = np.empty(maps.shape, np.float32)
            rectify(upstream[part], out[part], inner)
            far = is_far(mean, self.variance[part])
            sums = np.einsum("gcp->gc", inner)
            products = np.einsum("gcp,gcp->gc", inner, maps - mean[..., None] if far else maps)
            if not far:
                products -= mean * sums
            of_weight[part], of_bias[part] = products * inverse, sums
            count = np.float32(maps[0].size)
            slope = (weight * products).sum(axis=1, keepdims=True) * inverse**3 / count
            shift = slope * mean - (weight * sums).sum(axis=1, keepdims=True) * inverse / count
            inner *= (weight * inverse)[..., None]
            np.multiply(maps, -slope[..., None], out=dx[part])
            dx[part] += shift[..., None]
            dx[part] += inner

        self._in_blocks(run)
        return [one.reshape(self.images, -1).sum(axis=0) for one in (of_weight, of_bias)]

    def _inverse(self, part: slice) -> np.ndarray:
        """1 / standard deviation of each group, (groups, 1)."""
        return 1 / np.sqrt(self.variance[part] + self.epsilon)

    def _in_blocks(self, run: Any) -> None:
        groups, channels, pixels = self.maps.shape
        summed(blocks((1, groups, channels * pixels)), broadcasting(run))
