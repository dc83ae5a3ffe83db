"""Batch normalisation and what follows it in a residual block as one operator of the CPU, in threads, in few passes.

ReLU((normalised · gate) + shortcut), of which gate, shortcut and ReLU may be missing. Paddle's operators for it take one thread
and fourteen passes over the memory. Squeeze and excitation's gate needs means of the normalised maps, which follow from those
of the maps, so that nothing is kept for the gradient but what goes in and what comes out.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import paddle
from paddle.autograd import PyLayer

from .channelwise import affine, asks_for_gradient, blocks, broadcasting, flat
from .gates import Gate
from .norm_silu import Moments
from .threads import aligned, array_of, summed, tensor_of

_PIECE = 1 << 15  # pixels of a map that go through all steps of a pass together: 128 KB
_FAR = 16  # variances, of a squared mean


class Following(NamedTuple):
    """What comes after the normalisation.

    Attributes:
        relu: whether there is one, last.
        shortcut: (n, C, H, W), added.
        gate: squeeze and excitation's weights and biases, with a ReLU between its two layers.
        factors: (n,) of the images, without gradient; not beside a gate.
    """

    relu: bool = False
    shortcut: paddle.Tensor | None = None
    gate: Sequence[paddle.Tensor] = ()
    factors: paddle.Tensor | None = None


_NOTHING = Following()


def normalized(
    x: paddle.Tensor,
    weight: paddle.Tensor,
    bias: paddle.Tensor,
    moments: Moments,
    epsilon: float,
    following: Following = _NOTHING,
    private: bool = False,
) -> paddle.Tensor:
    """The normalised maps and what follows; differentiable by all tensors but the images' factors. float32 on a CPU.

    Args:
        x: (n, C, H, W).
        weight, bias: (C,).
        moments: filled in if they are the batch's.
        epsilon: added to the variance.
        private: whether nobody else needs what x holds, neither its operator for its own gradient: its memory is used for what
            is returned, or else for x's gradient.

    Returns:
        (n, C, H, W).
    """
    relu, shortcut, gate, factors = following
    private = private and (not x.is_leaf or x.stop_gradient)
    work = _Work(flat(x), moments, epsilon, None if factors is None else array_of(factors))
    tensors = weight, bias, *gate
    if asks_for_gradient(x, *tensors, *([] if shortcut is None else [shortcut])):
        return _Normalized.apply(x, shortcut, work, relu, private, *tensors)
    out = work.maps if private else aligned(work.maps.shape)
    work.forward(tensors, None if shortcut is None else flat(shortcut), relu, out)
    return x if private else tensor_of(out.reshape(x.shape))


class _Normalized(PyLayer):
    @staticmethod
    def forward(
        ctx: Any,
        x: paddle.Tensor,
        shortcut: paddle.Tensor | None,
        work: "_Work",
        relu: bool,
        private: bool,
        *tensors: paddle.Tensor,
    ) -> paddle.Tensor:
        given = (x, *([] if shortcut is None else [shortcut]), *tensors)
        ctx.learns = [not tensor.stop_gradient for tensor in given]
        ctx.adds, ctx.private = shortcut is not None, private and ctx.learns[0]
        out = aligned(x.shape)
        maps = out.reshape(work.maps.shape)
        work.forward(tensors, None if shortcut is None else flat(shortcut), relu, maps)
        ctx.save_for_backward(x)
        # An array: the tensor would hold its own graph, and with it itself, alive.
        ctx.work, ctx.out = work, maps if relu else None
        ctx.shapes = [tensor.shape for tensor in tensors]
        return tensor_of(out)

    @staticmethod
    def backward(ctx: Any, grad: paddle.Tensor) -> tuple[paddle.Tensor | None, ...]:
        work, (x,) = ctx.work, ctx.saved_tensor()
        # The tensor itself: of an array of its memory Paddle makes one whose end it waits for forever.
        dx = x.detach() if ctx.private else tensor_of(aligned(x.shape))
        through = aligned(x.shape) if ctx.adds and ctx.learns[1] else None
        shape = work.maps.shape
        learned = work.backward(flat(grad), ctx.out, None if through is None else through.reshape(shape), flat(dx))
        found = [None if through is None else tensor_of(through)] if ctx.adds else []
        found += [tensor_of(one.reshape(own)) for one, own in zip(learned, ctx.shapes)]
        return tuple(one if learns else None for one, learns in zip([dx, *found], ctx.learns))


class _Work:
    """Both passes, and what the second needs of the first.

    Args:
        maps: (n, C, pixels).
        moments, epsilon: of the normalisation.
        factors: (n,) of the images.
    """

    def __init__(self, maps: np.ndarray, moments: Moments, epsilon: float, factors: np.ndarray | None):
        self.maps, self.moments, self.epsilon = maps, moments, np.float32(epsilon)
        self.gates = np.ones(maps.shape[:2], np.float32)
        if factors is not None:
            self.gates *= factors[:, None]
        # Zeros: where they are not needed they are multiplied by 0.
        self.means = np.zeros(maps.shape[:2], np.float32)
        self.gate: Gate | None = None

    def forward(self, tensors: Sequence[paddle.Tensor], shortcut: np.ndarray | None, relu: bool, out: np.ndarray) -> None:
        """Write what comes out to `out` (n, C, pixels), which may be the maps' own memory."""
        weight, bias, *layers = tensors
        self.weight, self.bias = array_of(weight), array_of(bias)
        self.gate = Gate(*layers, silu=False) if layers else None
        moments, shift = self.moments, self.bias

        def normalize(part: slice) -> None:
            scale = self.weight[part] * self._inverse(part)
            offset = shift[part] - moments.mean[part] * scale
            for i, gates in enumerate(self.gates[:, part]):
                for pixels in _pieces(self.maps.shape[2]):
                    into = out[i, part, pixels]
                    affine(self.maps[i, part, pixels], scale * gates, offset * gates, into)
                    if shortcut is not None:
                        into += shortcut[i, part, pixels]
                    if relu:
                        np.maximum(into, 0, out=into)

        if self.gate is None:
            self._in_blocks(self._measure, normalize)
            return
        self._in_blocks(self._measure)
        scale = self.weight * self._inverse(slice(None))
        self.gates = self.gate.forward(self.means * scale + (shift - moments.mean * scale))
        self._in_blocks(normalize)

    def _measure(self, part: slice) -> None:
        """The moments of the batch, and means (n, C) of the images."""
        if not self.moments.of_batch and self.gate is None:
            return
        images, (count, _, length) = self.maps[:, part], self.maps.shape
        pieces = _pieces(length)
        self.means[:, part] = sum(np.einsum("ncp->nc", images[:, :, own]) for own in pieces) / np.float32(length)
        if not self.moments.of_batch:
            return
        self.moments.mean[part] = mean = self.means[:, part].sum(axis=0) / np.float32(count)
        squares = sum(np.einsum("ncp,ncp->c", images[:, :, own], images[:, :, own]) for own in pieces)
        variance = squares / np.float32(count * length) - mean**2
        if is_far(mean, variance):
            centred = images - mean[:, None]
            variance = np.einsum("ncp,ncp->c", centred, centred) / np.float32(count * length)
        self.moments.variance[part] = variance

    def backward(
        self, upstream: np.ndarray, out: np.ndarray | None, through: np.ndarray | None, dx: np.ndarray
    ) -> list[np.ndarray]:
        """Gradients of weight and bias (C,), and of the gate's tensors.

        Args:
            upstream: what comes in (n, C, pixels).
            out: what came out, if that went through a ReLU.
            through: where the shortcut's gradient is written to, if it is asked for.
            dx: where the maps' gradient is written to; may be the maps' own memory.
        """
        sums, products = np.zeros((2, *self.means.shape), np.float32)
        found = np.empty((2, sums.shape[1]), np.float32)
        of_means, learned = np.zeros_like(sums), []

        def add_up(part: slice) -> np.ndarray:
            inner = _behind(part, upstream, out, through)
            sums[:, part], products[:, part] = self._add_up(part, inner)
            return inner

        def finish(part: slice, inner: np.ndarray) -> None:
            found[:, part] = self._finish(part, sums[:, part], products[:, part], of_means[:, part], inner, dx)

        if self.gate is None:
            self._in_blocks(lambda part: finish(part, add_up(part)))
        else:
            self._in_blocks(add_up)
            # What a gate scales is affine in the centred maps.
            scale = self.weight * self._inverse(slice(None))
            of_means, *learned = self.gate.backward(products * scale + sums * self.bias)
            # A shortcut's gradient is what `_behind` has given before.
            again = (
                partial(_behind, upstream=upstream, out=out, through=None) if through is None else lambda part: through[:, part]
            )
            self._in_blocks(lambda part: finish(part, again(part)))
        return [*found, *learned]

    def _add_up(self, part: slice, inner: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Sums (n, c) of the gradient behind the gate (n, c, pixels), and of its products with the centred maps."""
        pieces, mean, maps = _pieces(inner.shape[2]), self.moments.mean[part], self.maps[:, part]
        far = is_far(mean, self.moments.variance[part])
        if far:
            maps = maps - mean[:, None]
        sums = sum(np.einsum("ncp->nc", inner[:, :, own]) for own in pieces)
        products = sum(np.einsum("ncp,ncp->nc", inner[:, :, own], maps[:, :, own]) for own in pieces)
        return sums, products if far else products - mean * sums

    def _finish(
        self, part: slice, sums: np.ndarray, products: np.ndarray, of_means: np.ndarray, inner: np.ndarray, dx: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Write a part's gradient; returns the weight's and the bias's.

        Args:
            sums, products: (n, c) of the gradient behind the gate, and of its products with the centred maps.
            of_means: (n, c) gradient of the normalised maps' means.
            inner: (n, c, pixels) the gradient behind the gate.
        """
        length, inverse, mean, gates = dx.shape[2], self._inverse(part), self.moments.mean[part], self.gates[:, part]
        total = (gates * sums + of_means).sum(axis=0)
        product = (gates * products + of_means * (self.means[:, part] - mean)).sum(axis=0)
        scale, offset = self.weight[part] * inverse, of_means / np.float32(length)
        slope = np.zeros_like(mean)
        if self.moments.of_batch:
            count = np.float32(len(sums) * length)
            slope = product * inverse**2 / count
            offset = offset - total / count + slope * mean
        for i in range(len(sums)):
            for pixels in _pieces(length):
                into = dx[i, part, pixels]
                if not self.moments.of_batch:
                    affine(inner[i, :, pixels], scale * gates[i], scale * offset[i], into)
                    continue
                behind = inner[i, :, pixels]
                of_moments = np.empty(into.shape, np.float32)
                affine(self.maps[i, part, pixels], -scale * slope, scale * offset[i], of_moments)
                np.multiply(behind, (scale * gates[i])[:, None], out=into)
                into += of_moments
        return product * inverse, total

    def _inverse(self, part: slice) -> np.ndarray:
        """1 / standard deviation of each channel."""
        return 1 / np.sqrt(self.moments.variance[part] + self.epsilon)

    def _in_blocks(self, *passes: Callable[[slice], object]) -> None:
        """Go over the maps a few channels at a time, in threads."""

        def run(part: slice) -> None:
            for one in passes:
                one(part)

        summed(blocks(self.maps.shape), broadcasting(run))


def _behind(part: slice, upstream: np.ndarray, out: np.ndarray | None, through: np.ndarray | None) -> np.ndarray:
    """The gradient (n, c, pixels) behind the gate and a shortcut: what comes in, through a ReLU that gave `out`.

    through: where it is written to, if it is asked for.
    """
    given = upstream[:, part]
    inner = np.empty(given.shape, np.float32) if through is None else through[:, part]
    if out is None:
        np.copyto(inner, given)
    else:
        rectify(given, out[:, part], inner)
    return inner


def _pieces(length: int) -> list[slice]:
    """Pixels of maps too large for the nearest caches, a part at a time; long sums would lose digits, too."""
    return [slice(first, min(first + _PIECE, length)) for first in range(0, length, _PIECE)]


def is_far(mean: np.ndarray, variance: np.ndarray) -> bool:
    """Whether a mean is so far from zero that differences of sums over the maps would lose digits."""
    return bool((mean**2 > _FAR * variance).any())


def rectify(upstream: np.ndarray, out: np.ndarray, into: np.ndarray) -> None:
    """Write the upstream gradient where a ReLU gave more than 0, and 0 elsewhere.

    As whole numbers: bits of a positive float are one, so that the product takes the gradient's as they are.
    """
    bits = into.view(np.int32)
    np.minimum(out.view(np.int32), 1, out=bits)
    np.multiply(bits, upstream.view(np.int32), out=bits)
