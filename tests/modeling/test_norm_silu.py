"""Batch norm and SiLU in one go against the two of Paddle: values, gradients, statistics, and that bits repeat."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from gradients import by_threads, demand_same_bits, results, tensors

from ppdet_ext.errors import UserError
from ppdet_ext.modeling.ops import channelwise, norm_silu
from ppdet_ext.modeling.ops.norms import BatchNorm2D

SHAPES = [(2, 3, 5, 7), (3, 40, 9, 11), (1, 2, 70, 500), (2, 1, 1, 1)]


def norms(channels: int, mode: str) -> list[BatchNorm2D]:
    """Two alike, with seeded weights and statistics."""
    rng = np.random.default_rng(2)
    values = rng.uniform(0.5, 2, (4, channels)).astype(np.float32)
    found = [BatchNorm2D(channels, momentum=0.2, epsilon=1e-3) for _ in range(2)]
    for norm in found:
        for tensor, value in zip((norm.weight, norm.bias, norm._mean, norm._variance), values):
            tensor.set_value(value)
        norm._use_global_stats = True if mode == "fixed" else None
        if mode == "eval":
            norm.eval()
    return found


def of_batch(x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """What the operator gives by the batch's statistics."""
    moments = norm_silu.Moments(True, *np.empty((2, x.shape[1]), np.float32))
    return norm_silu.normalized_silu(x, weight, bias, moments, 1e-3)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["train", "fixed", "eval"])
def test_values_gradients_and_statistics_are_paddles(shape, mode):
    ours, theirs = norms(shape[1], mode)
    (x,) = tensors(shape)
    x = (3 * x + 5).detach()
    x.stop_gradient = False
    found = results(lambda x, *_: ours.silu(x), [x, ours.weight, ours.bias])
    expected = results(lambda x, *_: F.silu(theirs(x)), [x, theirs.weight, theirs.bias])
    for a, b in zip(
        [*found, ours._mean.numpy(), ours._variance.numpy()], [*expected, theirs._mean.numpy(), theirs._variance.numpy()]
    ):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-5 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("mode", ["train", "fixed", "eval"])
def test_without_a_gradient_the_same_bits_in_the_maps_own_memory(mode):
    first, second = norms(3, mode)
    (x,) = tensors((2, 3, 5, 7))
    with_gradient = first.silu(x).numpy()
    with paddle.no_grad():
        own = x.detach().clone()
        assert np.array_equal(second.silu(own).numpy(), with_gradient)
        assert np.array_equal(own.numpy(), with_gradient)
    for name in ("_mean", "_variance"):
        assert np.array_equal(getattr(first, name).numpy(), getattr(second, name).numpy())


def test_bits_repeat_and_do_not_depend_on_the_number_of_threads():
    parts = tensors((2, 50, 30, 61), (50,), (50,))
    found = by_threads(lambda: results(of_batch, parts))
    demand_same_bits(found)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_does_not_learn_gets_no_gradient(frozen):
    parts = tensors((2, 3, 5, 6), (3,), (3,))
    parts[frozen].stop_gradient = True
    of_batch(*parts).sum().backward()
    assert [part.grad is None for part in parts] == [i == frozen for i in range(3)]


def test_values_far_from_zero_stay_finite():
    norm, _ = norms(1, "fixed")
    x = paddle.to_tensor(np.array([-1e30, -200, -90, 0, 90, 1e30], np.float32).reshape(1, 1, 2, 3), stop_gradient=False)
    out = norm.silu(x)
    out.sum().backward()
    assert np.isfinite([out.numpy(), x.grad.numpy()]).all()


def test_other_types_go_through_paddle_and_one_value_a_channel_is_refused():
    norm, _ = norms(2, "train")
    x = paddle.rand([1, 2, 3, 4]).astype("float64")
    assert not channelwise.applies(x, norm.weight)
    with pytest.raises(UserError, match="one value a channel"):
        norm.silu(paddle.rand([1, 2, 1, 1]))
