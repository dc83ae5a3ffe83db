"""Bilinear enlargement against Paddle's: values, gradients, and that bits repeat."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from gradients import demand_same_bits, results, tensors, threads_of
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.ops import channelwise, enlarging
from ppdet_ext.modeling.ops.enlarging import enlarged
from ppdet_ext.modeling.ops.seam import plain_operators


def compare(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    """Hold values and gradients against Paddle's."""
    parts = tensors(shape)
    with plain_operators():
        expected = results(lambda x: enlarged(x, size), parts)
    for found, right in zip(results(lambda x: enlarged(x, size), parts), expected, strict=True):
        np.testing.assert_allclose(found, right, rtol=1e-4, atol=3e-6 * max(1.0, np.abs(right).max()))
    with paddle.no_grad():
        np.testing.assert_allclose(enlarged(parts[0], size).numpy(), expected[0], rtol=1e-4, atol=3e-6)


@settings(max_examples=60)
@given(
    images=st.integers(1, 2),
    channels=st.integers(1, 4),
    height=st.integers(1, 9),
    width=st.integers(1, 12),
    further=st.tuples(st.integers(0, 20), st.integers(0, 90)),
)
def test_values_and_gradients_are_paddles(images, channels, height, width, further):
    compare((images, channels, height, width), (height + further[0], width + further[1]))


@pytest.mark.parametrize(("size", "factor"), [((5, 300), 2), ((130, 7), 4), ((3, 2), 40)])
def test_maps_wider_than_a_tile(size, factor):
    compare((2, 3, *size), (factor * size[0], factor * size[1]))


def test_a_constant_stays_one_and_corners_stay_corners():
    x = paddle.to_tensor(np.random.default_rng(0).random((1, 2, 6, 7), np.float32))
    found = enlarged(x, (48, 56)).numpy()
    np.testing.assert_allclose(found[..., ::47, ::55], x.numpy()[..., ::5, ::6], rtol=1e-5)
    np.testing.assert_allclose(enlarged(paddle.full([1, 1, 30, 70], 0.3), (60, 140)).numpy(), 0.3, rtol=1e-6)


def test_bits_do_not_depend_on_the_number_of_threads_or_on_blocks(monkeypatch):
    parts, found = tensors((2, 5, 9, 70)), []
    for count, block in ((1, 1), (2, 3000), (2, 1 << 19)):
        monkeypatch.setattr(channelwise, "BLOCK", block)
        with threads_of(count):
            found.append(results(lambda x: enlarged(x, (18, 140)), parts))
    demand_same_bits(found)


def test_weights_are_shares():
    for length, target in ((1, 1), (1, 5), (4, 4), (50, 100), (400, 1600)):
        whole, turned = np.zeros((length, target)), np.zeros((target, length))
        for matrix, inverse in ((whole, False), (turned, True)):
            for some, own, shares in enlarging._tiles(length, target, inverse):
                matrix[some, own] = shares
        np.testing.assert_allclose(whole.sum(axis=0), 1, rtol=1e-6)
        assert np.array_equal(whole, turned.T)
    assert np.array_equal(next(enlarging._tiles(4, 4, False))[2], np.eye(4, dtype=np.float32))


def test_it_is_paddles_where_ours_is_not_for(monkeypatch):
    called = []
    monkeypatch.setattr(F, "interpolate", lambda x, **options: called.append(options) or x)
    with plain_operators():
        enlarged(paddle.ones([1, 1, 2, 2]), (4, 4))
    assert called == [{"size": (4, 4), "mode": "bilinear", "align_corners": True}]
