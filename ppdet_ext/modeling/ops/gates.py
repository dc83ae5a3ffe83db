"""Products of a map with one factor a channel or an image."""

from collections.abc import Callable
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.autograd import PyLayer

from .channelwise import affine, applies, asks_for_gradient, blocks, broadcasting, flat
from .threads import aligned, array_of, summed, tensor_of


def scale_channels(x: paddle.Tensor, factors: paddle.Tensor) -> paddle.Tensor:
    """x (B, C, H, W) times factors (B, C) or (B, C, 1, 1)."""
    return x * factors.reshape([x.shape[0], x.shape[1], 1, 1])


def scale_images(x: paddle.Tensor, factors: paddle.Tensor) -> paddle.Tensor:
    """x (B, C, H, W) times factors (B,)."""
    return x * factors.reshape([-1, 1, 1, 1])


def squeeze_excite(
    x: paddle.Tensor, reduce: nn.Conv2D, expand: nn.Conv2D, between: Callable[[paddle.Tensor], paddle.Tensor] = F.silu
) -> paddle.Tensor:
    """Scale channels by what two layers with an activation between and a sigmoid behind make of their means (arXiv 1709.01507).

    On a CPU in threads, with one map kept for the gradient; x's memory may be used for the result, if no gradient is asked for.

    Args:
        x: (n, C, H, W).
        reduce, expand: 1×1 convolutions with bias, from C channels to fewer and back.
        between: F.silu or F.relu.

    Returns:
        (n, C, H, W).
    """
    if between is not F.silu or not applies(x, reduce.weight):
        gate = expand(between(reduce(F.adaptive_avg_pool2d(x, 1))))
        return scale_channels(x, F.sigmoid(gate))
    tensors = reduce.weight, reduce.bias, expand.weight, expand.bias
    if asks_for_gradient(x, *tensors):
        return _SqueezeExcite.apply(x, *tensors)
    maps = flat(x)
    scale_maps(maps, Gate(*tensors).forward(_means(maps)), None, maps)
    return x


class _SqueezeExcite(PyLayer):
    @staticmethod
    def forward(ctx: Any, x: paddle.Tensor, *tensors: paddle.Tensor) -> paddle.Tensor:
        ctx.save_for_backward(x, *tensors)
        ctx.learns = [not tensor.stop_gradient for tensor in (x, *tensors)]
        ctx.gate, maps, out = Gate(*tensors), flat(x), aligned(x.shape)
        scale_maps(maps, ctx.gate.forward(_means(maps)), None, out.reshape(maps.shape))
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        x, *tensors = ctx.saved_tensor()
        maps, upstream, gate = flat(x), flat(grad), ctx.gate
        of_factors = np.empty(maps.shape[:2], np.float32)

        def run(part: slice) -> None:
            of_factors[:, part] = np.einsum("ncp,ncp->nc", maps[:, part], upstream[:, part])

        summed(blocks(maps.shape), run)
        of_means, *found = gate.backward(of_factors)
        if ctx.learns[0]:
            dx = aligned(x.shape)
            scale_maps(upstream, gate.factors, of_means / maps.shape[2], dx.reshape(maps.shape))
            found = [dx, *found]
        else:
            found = [None, *found]
        shapes = [tensor.shape for tensor in (x, *tensors)]
        return tuple(tensor_of(one.reshape(shape)) if ok else None for one, shape, ok in zip(found, shapes, ctx.learns))


class Gate:
    """Two layers for means (n, C), and their gradients.

    Args:
        tensors: first weight (S, C, 1, 1) and bias (S,), second weight (C, S, 1, 1) and bias (C,).
        silu: whether a SiLU is between them, else a ReLU.
    """

    def __init__(self, *tensors: paddle.Tensor, silu: bool = True):
        first, self.first_bias, second, self.second_bias = map(array_of, tensors)
        self.first, self.second = first[:, :, 0, 0], second[:, :, 0, 0]
        self.silu = silu

    def forward(self, means: np.ndarray) -> np.ndarray:
        """(n, C) -> factors (n, C)."""
        self.means = means
        self.reduced = np.einsum("nc,sc->ns", means, self.first) + self.first_bias
        # What the hidden units are multiplied by.
        self.passed = _sigmoid(self.reduced) if self.silu else (self.reduced > 0).astype(np.float32)
        self.factors = _sigmoid(np.einsum("ns,cs->nc", self.reduced * self.passed, self.second) + self.second_bias)
        return self.factors

    def backward(self, grad: np.ndarray) -> tuple[np.ndarray, ...]:
        """The factors' gradient (n, C) -> those of the means, and of first and second weight, each with its bias."""
        outer = grad * self.factors * (1 - self.factors)
        # A ReLU lets all or nothing pass, so that the last factor is 1 where it counts.
        inner = np.einsum("nc,cs->ns", outer, self.second) * self.passed * (1 + self.reduced * (1 - self.passed))
        first = np.einsum("ns,nc->sc", inner, self.means)
        second = np.einsum("nc,ns->cs", outer, self.reduced * self.passed)
        return np.einsum("ns,sc->nc", inner, self.first), first, inner.sum(axis=0), second, outer.sum(axis=0)


def _sigmoid(values: np.ndarray) -> np.ndarray:
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-values))


def _means(maps: np.ndarray) -> np.ndarray:
    """(n, C, pixels) -> (n, C)."""
    means = np.empty(maps.shape[:2], np.float32)

    def run(part: slice) -> None:
        means[:, part] = np.einsum("ncp->nc", maps[:, part])

    summed(blocks(maps.shape), run)
    return means / np.float32(maps.shape[2])


def scale_maps(maps: np.ndarray, factors: np.ndarray, shifts: np.ndarray | None, out: np.ndarray) -> None:
    """Maps (n, C, pixels) times factors (n, C) plus shifts (n, C) or nothing."""

    def run(part: slice) -> None:
        for i, (image, into) in enumerate(zip(maps[:, part], out[:, part])):
            if shifts is None:
                np.multiply(image, factors[i, part, None], out=into)
            else:
                affine(image, factors[i, part], shifts[i, part], into)

    summed(blocks(maps.shape), broadcasting(run))
