"""1×1 convolutions with a stride by the pixels that they look at, against Paddle's."""

import numpy as np
import paddle
import pytest
from gradients import by_threads, results, tensors

from ppdet_ext.modeling.ops import channelwise, conv_strided
from ppdet_ext.modeling.ops.convolution import Conv2D
from ppdet_ext.modeling.ops.seam import plain_operators


@pytest.mark.parametrize("size", [(1, 1), (6, 8), (7, 5)])
@pytest.mark.parametrize("stride", [2, 3])
def test_values_and_gradients_are_paddles(size, stride, monkeypatch):
    monkeypatch.setattr(channelwise, "BLOCK", 100)
    paddle.seed(0)
    layer = Conv2D(5, 4, 1, stride, bias_attr=False)
    parts = [*tensors((2, 5, *size)), layer.weight]
    ours = results(lambda x, _: layer(x), parts)
    with plain_operators():
        plain = results(lambda x, _: layer(x), parts)
    for a, b in zip(ours, plain, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_bits_do_not_depend_on_the_number_of_threads():
    found = by_threads(lambda: results(lambda x: conv_strided.every(x, 2), tensors((2, 3, 7, 9))), (1, 2))
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


def test_it_is_chosen_by_the_kind_of_the_layer():
    x = paddle.rand([1, 4, 6, 6])
    for settings, expected in (({}, True), ({"padding": 1}, False), ({"kernel_size": 3}, False), ({"stride": 1}, False)):
        layer = Conv2D(4, 4, **{"kernel_size": 1, "stride": 2, **settings})
        assert conv_strided.applies(x, layer) is expected
        assert not conv_strided.applies(x.astype("float64"), layer)
