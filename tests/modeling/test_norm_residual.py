"""Batch norm with what follows it in one go against Paddle's operators: values, gradients, statistics, and that bits repeat."""

import numpy as np
import paddle
import pytest
from gradients import by_threads, demand_same_bits, results, tensors

from ppdet_ext.errors import UserError
from ppdet_ext.modeling.ops import channelwise
from ppdet_ext.modeling.ops.convolution import Conv2D
from ppdet_ext.modeling.ops.norms import BatchNorm2D, BatchNormReLU
from ppdet_ext.modeling.ops.seam import plain_operators

SHAPES = [(2, 3, 5, 7), (3, 40, 9, 11), (1, 2, 70, 500), (2, 2048, 2, 3)]
KINDS = ["plain", "relu", "shortcut", "gate", "gate and shortcut", "added"]


def case(shape: tuple[int, ...], mode: str, kind: str, mean: float = 1.0):
    """A function of (x, shortcut, …), its tensors, and the layer; seeded alike each time."""
    rng, channels = np.random.default_rng(2), shape[1]
    norm = BatchNorm2D(channels, momentum=0.2, epsilon=1e-3)
    values = rng.uniform(0.5, 2, (4, channels)).astype(np.float32)
    for tensor, value in zip((norm.weight, norm.bias, norm._mean, norm._variance), values):
        tensor.set_value(value)
    norm._use_global_stats = True if mode == "fixed" else None
    if mode == "eval":
        norm.eval()
    paddle.seed(0)
    gate = [Conv2D(channels, 3, 1), Conv2D(3, channels, 1)] if "gate" in kind else []
    factors = paddle.to_tensor(rng.uniform(0, 2, shape[0]).astype(np.float32))
    x, shortcut = tensors(shape, shape)
    x = (3 * x + mean).detach()
    x.stop_gradient = False
    parts = [x, *([shortcut] if "shortcut" in kind or kind == "added" else []), norm.weight, norm.bias]
    parts += [p for layer in gate for p in (layer.weight, layer.bias)]

    def run(x: paddle.Tensor, second: paddle.Tensor, *_: paddle.Tensor) -> paddle.Tensor:
        inside = x * 1  # not a leaf, so that its memory is used
        if kind == "plain":
            return norm(inside)
        if kind == "added":
            return norm.added(inside, second, factors)
        return norm.relu(inside, second if "shortcut" in kind else None, gate)

    return run, parts, norm


def outcome(shape: tuple[int, ...], mode: str, kind: str, mean: float = 1.0) -> list[np.ndarray]:
    """The value, all gradients, and the stored statistics."""
    run, parts, norm = case(shape, mode, kind, mean)
    return [*results(run, parts), norm._mean.numpy(), norm._variance.numpy()]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("mode", ["train", "fixed", "eval"])
@pytest.mark.parametrize("kind", KINDS)
def test_values_gradients_and_statistics_are_paddles(shape, mode, kind):
    ours = outcome(shape, mode, kind)
    with plain_operators():
        theirs = outcome(shape, mode, kind)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=2e-4 * max(1.0, np.abs(b).max()))


@pytest.mark.parametrize("mode", ["train", "fixed"])
@pytest.mark.parametrize("kind", KINDS)
def test_memory_that_is_not_filled_yet_does_not_count(mode, kind, monkeypatch):
    expected = outcome((2, 12, 5, 7), mode, kind)
    monkeypatch.setattr(np, "empty", lambda shape, dtype=float: np.full(shape, np.nan, dtype))
    for a, b in zip(outcome((2, 12, 5, 7), mode, kind), expected, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_means_far_from_zero_lose_no_digits(mean):
    values = outcome((2, 3, 40, 50), "train", "relu", mean)
    exact = np.random.default_rng(0).normal(size=(2, 3, 40, 50)) * 3
    np.testing.assert_allclose(values[-1], 0.8 * case((2, 3, 1, 1), "train", "plain")[2]._variance.numpy()
                               + 0.2 * exact.var(axis=(0, 2, 3), ddof=1), rtol=1e-4)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_bits_repeat_and_do_not_depend_on_the_number_of_threads(kind, monkeypatch):
    monkeypatch.setattr(channelwise, "BLOCK", 4000)
    found = by_threads(lambda: outcome((2, 12, 30, 41), "train", kind))
    demand_same_bits(found)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_without_a_gradient_the_same_values(kind, mode):
    run, parts, _ = case((2, 12, 5, 7), mode, kind)
    with_gradient = run(*parts).numpy()
    run, parts, _ = case((2, 12, 5, 7), mode, kind)
    with paddle.no_grad():
        assert np.array_equal(run(*parts).numpy(), with_gradient)


@pytest.mark.parametrize("kind", ["plain", "gate and shortcut"])
def test_what_does_not_learn_gets_no_gradient(kind):
    for frozen in range(len(case(SHAPES[0], "train", kind)[1])):
        run, parts, _ = case(SHAPES[0], "train", kind)
        parts[frozen].stop_gradient = True
        run(*parts).sum().backward()
        assert [part.grad is None for part in parts] == [i == frozen for i in range(len(parts))]


def test_what_the_caller_has_stays():
    norm, (x,) = BatchNorm2D(3), tensors((2, 3, 4, 5))
    before = x.numpy().copy()
    norm.relu(x).sum().backward()
    with paddle.no_grad():
        norm(x.detach())
    assert np.array_equal(x.numpy(), before)


def test_a_chain_whose_gradients_take_its_maps_memory_ends():
    """Paddle waits forever for an array of a tensor's memory that is a tensor again."""
    layers = paddle.nn.Sequential(
        *[m for _ in range(3) for m in (Conv2D(4, 4, 3, padding=1, bias_attr=False), BatchNormReLU(4))]
    )
    for width in (8, 100):
        layers(paddle.rand([1, 4, 5, width])).sum().backward()
    assert all(p.grad is not None for p in layers.parameters() if not p.stop_gradient)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_a_layer_of_norm_and_relu_is_the_same_on_both_sides(mode):
    layer, (x,) = BatchNormReLU(3), tensors((2, 3, 4, 5))
    getattr(layer, mode)()
    ours = layer(x * 1).numpy()
    with plain_operators():
        np.testing.assert_allclose(layer(x * 1).numpy(), ours, atol=1e-5)


def test_one_value_a_channel_is_refused_and_other_types_go_through_paddle():
    for shape in ([1, 2, 1, 1],):
        with pytest.raises(UserError, match="one value a channel"):
            BatchNorm2D(2).relu(paddle.rand(shape))
    norm = BatchNorm2D(2)
    norm.to(dtype="float64")
    x = paddle.rand([2, 2, 3, 4], "float64")
    expected = paddle.nn.functional.relu(norm(x) + x)
    np.testing.assert_allclose(norm.relu(x * 1, x).numpy(), expected.numpy())
