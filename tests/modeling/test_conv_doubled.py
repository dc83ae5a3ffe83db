"""Convolutions of doubled maps that are never made against those that are: values, gradients, and that they repeat."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from gradients import by_threads, results, tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.ops import conv_doubled
from ppdet_ext.modeling.ops.convolution import Conv2D
from ppdet_ext.modeling.ops.seam import plain_operators
from ppdet_ext.modeling.segmentation.decoders.unet import UNetBlock


def ours(x: paddle.Tensor, weight: paddle.Tensor, skip: paddle.Tensor | None = None) -> paddle.Tensor:
    """Our operator."""
    return conv_doubled.conv3x3(x, skip, weight)


def plain(x: paddle.Tensor, weight: paddle.Tensor, skip: paddle.Tensor | None = None) -> paddle.Tensor:
    """The same by Paddle's operators."""
    x = F.interpolate(x, scale_factor=2, mode="nearest")
    return F.conv2d(x if skip is None else paddle.concat([x, skip], axis=1), weight, padding=1)


@settings(max_examples=40)
@given(
    images=st.integers(1, 2),
    channels=st.integers(1, 6),
    beside=st.integers(0, 4),
    outputs=st.integers(1, 6),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    columns=st.sampled_from([1, 25, 400]),
)
def test_values_and_gradients_are_paddles(images, channels, beside, outputs, height, width, columns):
    skip = [(images, beside, 2 * height, 2 * width)] if beside else []
    parts = tensors((images, channels, height, width), (outputs, channels + beside, 3, 3), *skip)
    before, conv_doubled._COLUMNS = conv_doubled._COLUMNS, columns
    try:
        found = results(ours, parts)
    finally:
        conv_doubled._COLUMNS = before
    for one, expected in zip(found, results(plain, parts), strict=True):
        np.testing.assert_allclose(one, expected, rtol=1e-4, atol=1e-5 * max(1.0, np.abs(expected).max()))


def test_bits_repeat_and_threads_matter_but_for_rounding(monkeypatch):
    monkeypatch.setattr(conv_doubled, "_COLUMNS", 20)
    parts = tensors((2, 3, 9, 12), (4, 5, 3, 3), (2, 2, 18, 24))
    found = by_threads(lambda: results(ours, parts))
    one, two, again = found
    assert all(np.array_equal(a, b) for a, b in zip(two, again, strict=True)), "the same bits for the same threads"
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_does_not_learn_gets_no_gradient(frozen):
    parts = tensors((1, 2, 3, 4), (3, 4, 3, 3), (1, 2, 6, 8))
    parts[frozen].stop_gradient = True
    ours(*parts).sum().backward()
    assert [part.grad is None for part in parts] == [i == frozen for i in range(3)]


@pytest.mark.parametrize("attention", [None, "scse"])
@pytest.mark.parametrize(("skip", "size"), [(3, [6, 96]), (0, [6, 96]), (3, [5, 95])])
def test_a_block_is_the_same_on_both_sides(attention, skip, size):
    paddle.seed(0)
    block, (x,) = UNetBlock(4, skip, 5, attention), tensors((2, 4, 3, 48))
    beside = paddle.rand([2, skip, *size]) if skip else None
    chosen = block(x, size, beside).numpy()
    with plain_operators():
        np.testing.assert_allclose(block(x, size, beside).numpy(), chosen, atol=2e-5)


def test_it_is_chosen_by_the_kind_of_the_layer_and_by_width():
    x = paddle.rand([1, 4, 3, 48])
    assert conv_doubled.applies(x, Conv2D(4, 5, 3, padding=1, bias_attr=False))
    assert not conv_doubled.applies(x[..., :40], Conv2D(4, 5, 3, padding=1, bias_attr=False))
    assert not conv_doubled.applies(x, Conv2D(4, 5, 3, padding=1))
    assert not conv_doubled.applies(x.astype("float64"), Conv2D(4, 5, 3, padding=1, bias_attr=False))
