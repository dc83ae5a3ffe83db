"""Convolutions in groups against Paddle's: values, gradients, and that bits repeat."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from gradients import by_threads, demand_same_bits, results, tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.ops import conv_groups
from ppdet_ext.modeling.ops.conv_groups import grouped3x3
from ppdet_ext.modeling.ops.convolution import Conv2D
from ppdet_ext.modeling.ops.seam import plain_operators


def compare(shape: tuple[int, ...], outputs: int, groups: int, stride: int) -> None:
    """Hold values and gradients against Paddle's."""
    parts = tensors(shape, (outputs, shape[1] // groups, 3, 3))
    ours = results(lambda x, w: grouped3x3(x, w, groups, stride), parts)
    for found, expected in zip(ours, results(lambda x, w: F.conv2d(x, w, None, stride, 1, 1, groups), parts), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=4e-6 * max(1.0, np.abs(expected).max()))


@settings(max_examples=40)
@given(
    images=st.integers(1, 2),
    groups=st.integers(1, 6),
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 9),
    stride=st.integers(1, 2),
    height=st.integers(1, 12),
    width=st.integers(1, 12),
)
def test_values_and_gradients_are_paddles(images, groups, inputs, outputs, stride, height, width):
    compare((images, groups * inputs, height, width), groups * outputs, groups, stride)


@pytest.mark.parametrize("stride", [1, 2])
def test_bands_of_rows_are_one_image(stride, monkeypatch):
    monkeypatch.setattr(conv_groups, "_BAND", 500)
    compare((2, 32, 13, 15), 32, 8, stride)


def test_bits_repeat_and_do_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(conv_groups, "_BAND", 500)
    parts = tensors((2, 24, 17, 11), (24, 4, 3, 3))
    found = by_threads(lambda: results(lambda x, w: grouped3x3(x, w, 6, 2), parts))
    demand_same_bits(found)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_does_not_learn_gets_no_gradient(frozen):
    parts = tensors((1, 8, 5, 6), (8, 4, 3, 3))
    parts[frozen].stop_gradient = True
    grouped3x3(*parts, 2).sum().backward()
    assert [part.grad is None for part in parts] == [i == frozen for i in range(2)]


def test_a_layer_chooses_by_its_kind_and_both_sides_agree():
    x = paddle.rand([2, 16, 9, 7])
    layers = [
        (Conv2D(16, 16, 3, 2, 1, groups=4, bias_attr=False), True),
        (Conv2D(16, 16, 3, 1, 1, groups=8, bias_attr=False), False),
        (Conv2D(16, 16, 3, 1, 2, 2, groups=4, bias_attr=False), False),
        (Conv2D(16, 16, 3, 1, 1, groups=4), False),
        (Conv2D(16, 16, 1, groups=4, bias_attr=False), False),
    ]
    for layer, expected in layers:
        assert conv_groups.applies(x, layer) is expected
        assert not conv_groups.applies(x.astype("float64"), layer)
        with plain_operators():
            assert not conv_groups.applies(x, layer)
            plain = layer(x).numpy()
        np.testing.assert_allclose(layer(x).numpy(), plain, atol=2e-6)
