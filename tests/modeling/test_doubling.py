"""Doubled maps beside others against Paddle's operators: values, gradients, and both sides of a U-Net's block."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from gradients import demand_same_bits, results, tensors, threads_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.ops import channelwise
from ppdet_ext.modeling.ops.doubling import doubled, doubled_onto
from ppdet_ext.modeling.ops.seam import plain_operators
from ppdet_ext.modeling.segmentation.layers import resize_beside, resize_onto


def plain(x: paddle.Tensor, skip: paddle.Tensor | None = None) -> paddle.Tensor:
    """The same by Paddle's operators."""
    x = F.interpolate(x, scale_factor=2, mode="nearest")
    return x if skip is None else paddle.concat([x, skip], axis=1)


@settings(max_examples=30)
@given(
    images=st.integers(1, 3),
    channels=st.integers(1, 5),
    beside=st.integers(0, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
)
def test_values_and_gradients_are_paddles(images, channels, beside, height, width):
    skip = [(images, beside, 2 * height, 2 * width)] if beside else []
    parts = tensors((images, channels, height, width), *skip)
    for i, (ours, theirs) in enumerate(zip(results(doubled, parts), results(plain, parts), strict=True)):
        if i == 1:
            np.testing.assert_allclose(ours, theirs, atol=2e-6)
        else:
            assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("frozen", [None, 0, 1])
def test_a_sum_with_doubled_maps_is_paddles(frozen):
    parts = tensors((2, 3, 4, 5), (2, 3, 8, 10))
    if frozen is not None:
        parts[frozen].stop_gradient = True
        doubled_onto(*parts).sum().backward()
        assert [part.grad is None for part in parts] == [i == frozen for i in range(2)]
        return
    ours, theirs = results(doubled_onto, parts), results(lambda x, other: plain(x) + other, parts)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6)
    assert np.array_equal(ours[0], theirs[0])
    for size in ([8, 10], [7, 9]):
        other = paddle.rand([2, 3, *size])
        with plain_operators():
            expected = resize_onto(parts[0], other).numpy()
        assert np.array_equal(resize_onto(parts[0], other).numpy(), expected)
        with paddle.no_grad():
            assert np.array_equal(resize_onto(parts[0], other).numpy(), expected)


def test_bits_do_not_depend_on_the_number_of_threads_or_on_blocks(monkeypatch):
    parts = tensors((2, 5, 6, 7), (2, 3, 12, 14))
    found = []
    for count, block in ((1, 1), (2, 200), (2, 1 << 17)):
        monkeypatch.setattr(channelwise, "BLOCK", block)
        with threads_of(count):
            found.append(results(doubled, parts))
    demand_same_bits(found)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_does_not_learn_gets_no_gradient(frozen):
    parts = tensors((1, 2, 3, 4), (1, 3, 6, 8))
    parts[frozen].stop_gradient = True
    doubled(*parts).sum().backward()
    assert [part.grad is None for part in parts] == [i == frozen for i in range(2)]


@pytest.mark.parametrize("mode", ["nearest", "bilinear"])
@pytest.mark.parametrize("size", [[6, 8], [5, 7], [3, 4]])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_sides_of_what_a_decoder_calls(mode, size, dtype):
    x, skip = paddle.rand([2, 3, 3, 4], dtype), paddle.rand([2, 2, *size], dtype)
    for beside in (skip, None):
        ours = resize_beside(x, size, beside, mode)
        with plain_operators():
            assert np.array_equal(ours.numpy(), resize_beside(x, size, beside, mode).numpy())
