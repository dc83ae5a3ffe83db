"""Convolutions row by row, and other short cuts of CPUs, against Paddle's: values, gradients, and that they repeat."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from gradients import by_threads, results, tensors
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.ops import conv_rows, threads
from ppdet_ext.modeling.ops.convolution import Conv2D
from ppdet_ext.modeling.ops.layers import InplaceReLU, add_into


@settings(max_examples=25)
@given(
    images=st.integers(1, 3),
    inputs=st.integers(1, 9),
    outputs=st.integers(1, 9),
    height=st.integers(1, 40),
    width=st.integers(1, 30),
    biased=st.booleans(),
)
def test_values_and_gradients_are_paddles(images, inputs, outputs, height, width, biased):
    parts = tensors((images, inputs, height, width), (outputs, inputs, 3, 3), *([(outputs,)] if biased else []))

    def theirs(x, weight, bias=None):
        return F.conv2d(x, weight, bias, padding=1)

    for ours, expected in zip(results(conv_rows.conv3x3, parts), results(theirs, parts), strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=2e-5 * max(1.0, np.abs(expected).max()))


def test_many_bands_are_one_image(monkeypatch):
    parts = tensors((2, 3, 37, 12), (4, 3, 3, 3), (4,))
    whole = results(conv_rows.conv3x3, parts)
    monkeypatch.setattr(conv_rows, "_BAND", 1)
    for ours, expected in zip(results(conv_rows.conv3x3, parts), whole, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)


def test_number_of_threads_does_not_matter_but_for_rounding():
    parts = tensors((3, 3, 30, 12), (4, 3, 3, 3))
    found = by_threads(lambda: results(conv_rows.conv3x3, parts))
    one, two, again = found
    assert all(np.array_equal(a, b) for a, b in zip(two, again, strict=True)), "the same bits for the same threads"
    for a, b in zip(one, two, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("frozen", [0, 1, 2])
def test_what_does_not_learn_gets_no_gradient(frozen):
    parts = tensors((1, 2, 5, 6), (3, 2, 3, 3), (3,))
    parts[frozen].stop_gradient = True
    conv_rows.conv3x3(*parts).sum().backward()
    assert [part.grad is None for part in parts] == [i == frozen for i in range(3)]


def test_layer_chooses_by_width_and_kind_and_the_results_agree():
    wide, narrow = paddle.rand([2, 4, 6, conv_rows.MIN_WIDTH]), paddle.rand([2, 4, 6, 8])
    layer = Conv2D(4, 5, 3, padding=1)
    assert conv_rows.applies(wide, layer)
    assert not conv_rows.applies(narrow, layer)
    assert not conv_rows.applies(wide.astype("float64"), layer)
    for settings_ in ({"stride": 2}, {"dilation": 2}, {"padding": 0}, {"padding": [0, 1, 0, 1]}, {"groups": 2}):
        other = Conv2D(4, 6, 3, **{"padding": 1, **settings_})
        assert not conv_rows.applies(wide, other)
        plain = F.conv2d(wide, other.weight, other.bias, other._stride, other._updated_padding, other._dilation, other._groups)
        np.testing.assert_allclose(other(wide).numpy(), plain.numpy(), atol=1e-5)
    np.testing.assert_allclose(layer(wide).numpy(), F.conv2d(wide, layer.weight, layer.bias, padding=1).numpy(), atol=1e-5)
    assert not conv_rows.applies(wide, Conv2D(4, 5, 5, padding=2))


def test_what_follows_repeats_bit_for_bit():
    """Paddle's batch norm adds up in another order where memory does not begin as its own does; malloc begins anywhere."""
    paddle.seed(0)
    layers = paddle.nn.Sequential(Conv2D(3, 5, 3, padding=1, bias_attr=False), paddle.nn.BatchNorm2D(5))
    (x,) = tensors((1, 3, 11, 101))
    found, held = set(), []
    for size in range(40):
        held.append(bytearray(16 * size + 1))
        out, *gradients = results(layers, [x])
        found.add((out.tobytes(), *(one.tobytes() for one in gradients), layers[0].weight.grad.numpy().tobytes()))
        layers.clear_gradients()
    assert len(found) == 1
    begins = threads.aligned((3, 5, 7)).ctypes.data, np.from_dlpack(threads.tensor_of(np.ones(9, np.float32)[1:])).ctypes.data
    assert [begin % 64 for begin in begins] == [0, 0]


def test_a_sum_in_place_and_a_rectifier_have_their_gradients():
    def ours(x, y):
        return InplaceReLU()(add_into(2 * x, y))

    parts = tensors((2, 3, 5, 7), (2, 3, 5, 7))
    for a, b in zip(results(ours, parts), results(lambda x, y: F.relu(2 * x + y), parts), strict=True):
        assert np.array_equal(a, b)
    mixed = add_into(paddle.ones([2]), paddle.ones([2], "float64"))
    assert mixed.numpy().tolist() == [2, 2]
