"""Squeeze and excitation in one go against Paddle's layers: values, gradients, and that bits repeat."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from gradients import by_threads, demand_same_bits, results, tensors
from paddle import nn

from ppdet_ext.modeling.ops import channelwise, threads
from ppdet_ext.modeling.ops.gates import squeeze_excite

SHAPES = [(2, 12, 5, 7), (1, 9, 1, 1), (3, 70, 40, 61)]


def layers(channels: int) -> tuple[nn.Conv2D, nn.Conv2D]:
    """Two with seeded weights."""
    paddle.seed(0)
    return nn.Conv2D(channels, 3, 1), nn.Conv2D(3, channels, 1)


def plain(x: paddle.Tensor, reduce: nn.Conv2D, expand: nn.Conv2D) -> paddle.Tensor:
    """The same by Paddle's operators."""
    return x * F.sigmoid(expand(F.silu(reduce(F.adaptive_avg_pool2d(x, 1)))))


def outcome(function, x: paddle.Tensor, pair: tuple[nn.Conv2D, nn.Conv2D]) -> list[np.ndarray]:
    """The value, and the gradients of the map and of both layers."""
    return results(lambda x, *_: function(x, *pair), [x, *(p for layer in pair for p in layer.parameters())])


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_are_paddles(shape):
    (x,), pair = tensors(shape), layers(shape[1])
    for ours, theirs in zip(outcome(squeeze_excite, x, pair), outcome(plain, x, pair), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(theirs).max()))


def test_bits_repeat_do_not_depend_on_threads_and_are_the_same_without_a_gradient(monkeypatch):
    (x,), pair = tensors(SHAPES[2]), layers(SHAPES[2][1])
    monkeypatch.setattr(channelwise, "BLOCK", 1 << 14)
    found = by_threads(lambda: outcome(squeeze_excite, x, pair))
    demand_same_bits(found)
    with paddle.no_grad():
        own = x.detach().clone()
        assert np.array_equal(squeeze_excite(own, *pair).numpy(), found[0][0])
        assert np.array_equal(own.numpy(), found[0][0]), "in the map's own memory"
    threads.pool.cache_clear()


@pytest.mark.parametrize("frozen", range(5))
def test_what_does_not_learn_gets_no_gradient(frozen):
    (x,), pair = tensors((2, 4, 3, 5)), layers(4)
    parts = [x, *(p for layer in pair for p in layer.parameters())]
    parts[frozen].stop_gradient = True
    squeeze_excite(x, *pair).sum().backward()
    assert [part.grad is None for part in parts] == [i == frozen for i in range(5)]


def test_other_types_go_through_paddles_layers():
    pair = layers(4)
    for layer in pair:
        layer.to(dtype="float64")
    x = paddle.rand([2, 4, 3, 3]).astype("float64")
    assert np.array_equal(squeeze_excite(x, *pair).numpy(), plain(x, *pair).numpy())
