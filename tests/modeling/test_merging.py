"""Levels added and channels left out, against Paddle's operators: the same bits and draws."""

import numpy as np
import paddle
import pytest
from gradients import results, tensors, threads_of
from paddle import nn

from ppdet_ext.modeling.ops import channelwise
from ppdet_ext.modeling.ops.merging import Dropout2D, added

SHAPE = (2, 6, 7, 9)


@pytest.fixture(autouse=True, params=[1, 2])
def count(request, monkeypatch):
    """Threads, and blocks so small that both have some."""
    monkeypatch.setattr(channelwise, "BLOCK", 100)
    with threads_of(request.param):
        yield


@pytest.mark.parametrize("levels", [1, 2, 4])
def test_sums_and_gradients_are_those_of_add_n(levels):
    parts = tensors(*[SHAPE] * levels)
    for ours, theirs in zip(
        results(lambda *maps: added(maps), parts), results(lambda *maps: paddle.add_n(list(maps)), parts), strict=True
    ):
        assert np.array_equal(ours, theirs)


def test_a_level_that_goes_elsewhere_too_has_the_gradient_of_both():
    x, other = tensors(SHAPE, SHAPE)
    middle = x * 2
    (added([middle, other, middle]) + middle * 5).sum().backward()
    assert np.array_equal(x.grad.numpy(), np.full(SHAPE, 14, np.float32))
    assert np.array_equal(other.grad.numpy(), np.ones(SHAPE, np.float32))


def test_levels_that_do_not_learn_get_no_gradient():
    x, other = tensors(SHAPE, SHAPE)
    other.stop_gradient = True
    added([x, other]).sum().backward()
    assert x.grad is not None
    assert other.grad is None


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("training", [True, False])
def test_the_same_channels_are_left_out_as_by_paddle(share, training):
    parts, found = tensors(SHAPE), []
    for cls in (Dropout2D, nn.Dropout2D):
        layer = cls(share)
        layer.train() if training else layer.eval()
        paddle.seed(3)
        found.append(results(layer, parts))
        found[-1].append(paddle.rand([3]).numpy())
    for ours, theirs in zip(*found, strict=True):
        assert np.array_equal(ours, theirs)
