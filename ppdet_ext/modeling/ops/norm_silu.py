"""Batch normalisation and SiLU as one operator of the CPU: a few channels at a time, in threads, while they are in the cache.

Paddle's two take one thread and eight passes over the memory, and keep two maps for the gradient; here one is kept.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
from paddle.autograd import PyLayer

from .channelwise import affine, asks_for_gradient, blocks, broadcasting, flat
from .threads import aligned, array_of, summed, tensor_of


@dataclass
class Moments:
    """Mean and biased variance (C,) float32 of each channel; of a batch they are computed on the way.

    Args:
        of_batch: whether they are those of the maps that are normalised, so that the gradient goes through them.
        mean, variance: else what they are.
    """

    of_batch: bool
    mean: np.ndarray
    variance: np.ndarray


def normalized_silu(
    x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, moments: Moments, epsilon: float
) -> paddle.Tensor:
    """SiLU of the normalised maps; differentiable by all three tensors. float32 on a CPU.

    Args:
        x: (n, C, H, W). Its memory is used for what is returned if no gradient is asked for.
        weight, bias: (C,).
        moments: filled in if they are the batch's.
        epsilon: added to the variance.

    Returns:
        (n, C, H, W).
    """
    if asks_for_gradient(x, weight, bias):
        return _NormalizedSilu.apply(x, weight, bias, moments, epsilon)
    maps = flat(x)
    _normalize(maps, array_of(weight), array_of(bias), moments, epsilon, maps)
    return x


class _NormalizedSilu(PyLayer):
    @staticmethod
    def forward(
        ctx: Any, x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor, moments: Moments, epsilon: float
    ) -> paddle.Tensor:
        ctx.save_for_backward(x, weight, bias)
        ctx.learns = [not tensor.stop_gradient for tensor in (x, weight, bias)]
        ctx.moments, ctx.epsilon = moments, epsilon
        out = aligned(x.shape)
        _normalize(flat(x), array_of(weight), array_of(bias), moments, epsilon, out.reshape(*x.shape[:2], -1))
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, weight, bias = ctx.saved_tensor()
        data, upstream, gamma, beta, moments = flat(x), flat(grad), array_of(weight), array_of(bias), ctx.moments
        inverse = 1 / np.sqrt(moments.variance + np.float32(ctx.epsilon))
        count = np.float32(data.shape[0] * data.shape[2])
        dx = aligned(data.shape)
        sums, products = np.empty_like(gamma), np.empty_like(beta)

        def run(part: slice) -> None:
            scale = gamma[part] * inverse[part]
            inner = dx[:, part]  # the gradient of what goes into SiLU, until it is ready
            centred, values, sigmoid = np.empty((3, *inner.shape[1:]), np.float32)
            sums[part] = products[part] = 0
            for maps, given, out in zip(data[:, part], upstream[:, part], inner):
                np.subtract(maps, moments.mean[part, None], out=centred)
                affine(centred, -scale, -beta[part], values)
                _silu_gradient(values, given, sigmoid, out)
                sums[part] += np.einsum("cp->c", out)
                products[part] += np.einsum("cp,cp->c", out, centred)
            if moments.of_batch:
                slope = products[part] * inverse[part] ** 2 / count
                for maps, out in zip(data[:, part], inner):
                    affine(maps, slope, sums[part] / count - slope * moments.mean[part], centred)
                    out -= centred
            inner *= scale[:, None]

        summed(blocks(data.shape), broadcasting(run))
        found = dx.reshape(x.shape), products * inverse, sums
        return tuple(tensor_of(one) if learns else None for one, learns in zip(found, ctx.learns))


def _normalize(
    data: np.ndarray, weight: np.ndarray, bias: np.ndarray, moments: Moments, epsilon: float, out: np.ndarray
) -> None:
    """Write SiLU of the normalised maps (n, C, pixels) to `out`, which may be the maps' own memory."""
    count = np.float32(data.shape[0] * data.shape[2])

    def run(part: slice) -> None:
        maps = data[:, part]
        values, other = np.empty((2, *maps.shape[1:]), np.float32)
        if moments.of_batch:
            moments.mean[part] = mean = np.einsum("ncp->c", maps) / count
            moments.variance[part] = 0
            for image in maps:
                np.subtract(image, mean[:, None], out=values)
                moments.variance[part] += np.einsum("cp,cp->c", values, values) / count
        scale = weight[part] / np.sqrt(moments.variance[part] + np.float32(epsilon))
        shift = bias[part] - moments.mean[part] * scale
        for image, into in zip(maps, out[:, part]):
            affine(image, -scale, -shift, values)
            _exponential(values, other)
            np.subtract(-1, other, out=other)
            np.divide(values, other, out=into)

    summed(blocks(data.shape), broadcasting(run))


def _exponential(values: np.ndarray, out: np.ndarray) -> None:
    """e^x, infinite where it overflows: the sigmoid of −x is 1 / (1 + e^x)."""
    with np.errstate(over="ignore"):
        np.exp(values, out=out)


def _silu_gradient(negative: np.ndarray, upstream: np.ndarray, sigmoid: np.ndarray, out: np.ndarray) -> None:
    """Upstream · s · (1 + x · (1 − s)), s the sigmoid of x, for −x; its memory and the sigmoid's are used up."""
    _exponential(negative, sigmoid)
    sigmoid += 1
    np.reciprocal(sigmoid, out=sigmoid)
    np.subtract(sigmoid, 1, out=out)
    negative *= out
    negative += 1
    sigmoid *= negative
    np.multiply(sigmoid, upstream, out=out)
