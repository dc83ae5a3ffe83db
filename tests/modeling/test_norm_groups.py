"""Group norm and ReLU in one go against the two of Paddle: values, gradients, and that bits repeat."""

import numpy as np
import paddle
import pytest
from gradients import by_threads, demand_same_bits, results, tensors

from ppdet_ext.modeling.ops import channelwise
from ppdet_ext.modeling.ops.norms import GroupNorm, GroupNormReLU
from ppdet_ext.modeling.ops.seam import plain_operators


def case(shape: tuple[int, ...], groups: int, mean: float = 1.0):
    """A function of (x, …) and its tensors."""
    rng, norm = np.random.default_rng(2), GroupNormReLU(groups, shape[1])
    for tensor in (norm.weight, norm.bias):
        tensor.set_value(rng.uniform(0.5, 2, shape[1]).astype(np.float32))
    x = (3 * tensors(shape)[0] + mean).detach()
    x.stop_gradient = False
    return lambda x, *_: norm(x * 1), [x, norm.weight, norm.bias]


@pytest.mark.parametrize(("shape", "groups"), [((2, 6, 5, 7), 3), ((3, 32, 9, 11), 4), ((1, 2, 70, 500), 1), ((2, 4, 1, 3), 4)])
@pytest.mark.parametrize("mean", [1.0, 60.0])
def test_values_and_gradients_are_paddles(shape, groups, mean):
    ours = results(*case(shape, groups, mean))
    with plain_operators():
        theirs = results(*case(shape, groups, mean))
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=(1e-4 if mean == 1 else 2e-3) * max(1.0, np.abs(b).max()))


def test_bits_repeat_do_not_depend_on_threads_or_on_what_memory_had_and_are_the_same_without_a_gradient(monkeypatch):
    monkeypatch.setattr(channelwise, "BLOCK", 4000)
    shape = (2, 12, 30, 41)
    found = by_threads(lambda: results(*case(shape, 4)))
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, np.nan, dtype))
    found.append(results(*case(shape, 4)))
    demand_same_bits(found)
    run, parts = case(shape, 4)
    with paddle.no_grad():
        assert np.array_equal(run(*parts).numpy(), found[0][0])


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_does_not_learn_gets_no_gradient_and_what_the_caller_has_stays(frozen):
    run, parts = case((2, 6, 4, 5), 3)
    parts[frozen].stop_gradient = True
    run(*parts).sum().backward()
    assert [part.grad is None for part in parts] == [i == frozen for i in range(3)]
    norm, (x,) = GroupNormReLU(3, 6), tensors((2, 6, 4, 5))
    before = x.numpy().copy()
    norm(x).sum().backward()
    assert np.array_equal(x.numpy(), before)


def test_other_types_go_through_paddle():
    norm = GroupNorm(2, 4)
    norm.to(dtype="float64")
    x = paddle.rand([2, 4, 3, 5], "float64")
    assert np.array_equal(norm.relu(x).numpy(), np.maximum(norm(x).numpy(), 0))
