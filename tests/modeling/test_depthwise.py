"""Depthwise convolutions in threads against Paddle's: values, gradients, and that they repeat."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from gradients import by_threads, demand_same_bits, results, tensors
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.backbones.efficientnet import MBConvBlock, PaddedConv
from ppdet_ext.modeling.ops import depthwise


def compare(shape: tuple[int, ...], kernel: int, stride: int, dilation: int, padding: tuple[int, int]) -> None:
    """Hold values and gradients against Paddle's."""
    before, after = padding
    parts = tensors(shape, (shape[1], 1, kernel, kernel))
    geometry = depthwise.Geometry(stride, dilation, before)

    def ours(x, weight):
        return depthwise.depthwise(x, weight, geometry, after)

    def theirs(x, weight):
        return F.conv2d(x, weight, None, stride, [before, after] * 2, dilation, shape[1])

    for found, expected in zip(results(ours, parts), results(theirs, parts), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-6 * max(1.0, np.abs(expected).max()))


@settings(max_examples=40)
@given(
    data=st.data(), images=st.integers(1, 2), channels=st.integers(1, 9), height=st.integers(1, 30), width=st.integers(1, 30)
)
def test_values_and_gradients_are_paddles(data, images, channels, height, width):
    kernel, stride, dilation = (data.draw(st.sampled_from(choices)) for choices in ([1, 3, 5], [1, 2, 3], [1, 2]))
    reach = (kernel - 1) * dilation
    before = data.draw(st.integers(0, reach))
    after = data.draw(st.integers(0, reach - before))
    assume(min(height, width) + before + after > reach)
    compare((images, channels, height, width), kernel, stride, dilation, (before, after))


@pytest.mark.parametrize(
    ("kernel", "stride", "padding"), [(3, 1, (1, 1)), (3, 2, (0, 1)), (5, 2, (1, 2)), (5, 1, (2, 2)), (3, 1, (0, 0))]
)
def test_large_maps_go_through_opencv_and_give_the_same(kernel, stride, padding):
    size = 90, 121
    assert size[0] * size[1] > depthwise._LARGE
    compare((2, 3, *size), kernel, stride, 1, padding)


@pytest.mark.parametrize("shape", [(2, 40, 20, 51), (2, 5, 90, 121)])
def test_bits_repeat_and_do_not_depend_on_the_number_of_threads(shape):
    parts = tensors(shape, (shape[1], 1, 5, 5))
    found = by_threads(lambda: results(lambda x, w: depthwise.depthwise(x, w, depthwise.Geometry(2, 1, 1), 2), parts))
    demand_same_bits(found)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_does_not_learn_gets_no_gradient(frozen):
    parts = tensors((1, 2, 5, 6), (2, 1, 3, 3))
    parts[frozen].stop_gradient = True
    depthwise.depthwise(*parts, depthwise.Geometry(1, 1, 1), 1).sum().backward()
    assert [part.grad is None for part in parts] == [i == frozen for i in range(2)]


def test_a_layer_chooses_by_its_kind_and_the_results_agree():
    x = paddle.rand([2, 4, 9, 7])
    one_row_only = PaddedConv(4, 4, 5, 2, (1, 2), groups=4), paddle.rand([2, 4, 1, 1])
    assert not depthwise.applies(one_row_only[1], one_row_only[0]), "Paddle says what is wrong"
    for groups, padding, expected in ((4, (1, 1), True), (4, (0, 1), True), (4, (2, 1), False), (2, (1, 1), False)):
        layer = PaddedConv(4, 4, 3, 2, padding, groups=groups)
        assert depthwise.applies(x, layer) is expected
        assert not depthwise.applies(x.astype("float64"), layer)
        plain = F.conv2d(x, layer.weight, None, 2, list(padding) * 2, 1, groups)
        np.testing.assert_allclose(layer(x).numpy(), plain.numpy(), atol=1e-6)


def test_a_block_repeats_bit_for_bit_wherever_its_working_memory_begins():
    paddle.seed(0)
    block = MBConvBlock(4, 4, 3, 1, (1, 1), 6, None)
    (x,) = tensors((2, 4, 19, 37))
    parts = [x, *(weight for weight in block.parameters() if not weight.stop_gradient)]
    found, held = set(), []
    for size in range(12):
        held.append(bytearray(16 * size + 1))
        found.add(b"".join(one.tobytes() for one in results(lambda x, *_: block(x), parts)))
    assert len(found) == 1
