"""Boxes as tensors against the same in numpy."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.detection.anchors import AnchorGrid
from ppdet_ext.modeling.ops import boxes as arrays
from ppdet_ext.modeling.ops import tensor_boxes as tensors
from ppdet_ext.modeling.ops.roi_align import Pyramid
from ppdet_ext.modeling.ops.roi_levels import Canvas, level_of
from ppdet_ext.modeling.ops.traced_nms import multiclass_nms

STDS = (0.1, 0.1, 0.2, 0.2)


def some_boxes(rng: np.random.Generator, count: int, empty: bool = False) -> np.ndarray:
    corner, size = rng.uniform(-20, 200, (count, 2)), np.exp(rng.uniform(0, 5, (count, 2)))
    if empty:
        size[rng.random(count) < 0.2, rng.integers(0, 2)] = 0
    return np.concatenate([corner, corner + size], 1).astype(np.float32)


@settings(max_examples=30)
@given(seed=st.integers(0, 9999), count=st.integers(1, 40))
def test_coding_and_overlap(seed, count):
    rng = np.random.default_rng(seed)
    boxes, goal = some_boxes(rng, count), some_boxes(rng, count)
    deltas = (rng.standard_normal((count, 4)) * rng.choice([1, 30])).astype(np.float32)
    t = paddle.to_tensor
    ours = tensors.decode(t(boxes), t(deltas), STDS, t([[150.0, 210.0]]))
    np.testing.assert_allclose(ours.numpy(), arrays.decode(boxes, deltas, np.array(STDS), 150, 210), rtol=1e-5, atol=1e-3)
    ours = tensors.encode(t(boxes), t(goal), STDS).numpy()
    np.testing.assert_allclose(ours, arrays.encode(boxes, goal, np.array(STDS)), rtol=1e-4, atol=1e-4)
    some = some_boxes(rng, count, empty=True)
    np.testing.assert_array_equal(tensors.area(t(some)).numpy(), arrays.area(some))
    ours = tensors.pairwise_iou(t(some), t(goal)).numpy()
    np.testing.assert_allclose(ours, arrays.pairwise_iou(some, goal), rtol=1e-6)


@settings(max_examples=30)
@given(seed=st.integers(0, 9999), count=st.integers(0, 60), own=st.booleans(), most=st.sampled_from([60, 200]))
def test_nms_of_a_graph(seed, count, own, most):
    rng = np.random.default_rng(seed)
    boxes = some_boxes(rng, count * 3).reshape(count, 3, 4) if own else some_boxes(rng, count)
    scores = rng.random((count, 3)).astype(np.float32)
    found = multiclass_nms(paddle.to_tensor(boxes), paddle.to_tensor(scores), 0.3, 0.5, 20, most)
    index, labels, best = arrays.multiclass_nms(boxes, scores, 0.3, 0.5, 20)
    wanted = boxes[index, labels] if own else boxes[index]
    for ours, theirs in zip(found, (wanted, best, labels), strict=True):
        assert np.array_equal(ours.numpy(), theirs)


@settings(max_examples=25)
@given(seed=st.integers(0, 9999), count=st.integers(0, 30), merge=st.sampled_from([1, 2]))
def test_pooling_of_a_graph(seed, count, merge):
    rng = np.random.default_rng(seed)
    paddle.seed(seed)
    strides = [4, 8, 16, 32]
    maps = [paddle.randn([1, 3, 256 // s, 320 // s]) for s in strides]
    boxes = some_boxes(rng, count, empty=True).clip(0, [320, 256, 320, 256]).astype(np.float32)  # as `decode` leaves them
    pyramid = Pyramid(maps, strides)
    real = (boxes[:, 2:] > boxes[:, :2]).all(axis=1)
    level = level_of(paddle.to_tensor(boxes), 4, 56).numpy()
    assert np.array_equal(level, np.where(real, pyramid.level_of(boxes), 4))
    wanted = pyramid.pool(np.insert(boxes, 0, 0, axis=1), 7, merge).numpy()
    canvas, order = Canvas(maps, strides), np.arange(count)
    if merge == 1:
        ours = canvas.pool(paddle.to_tensor(boxes), 7).numpy()
    else:
        ours, order = (x.numpy() for x in canvas.pool_merged(paddle.to_tensor(boxes), 7, merge))
        assert np.array_equal(np.sort(order), np.arange(count))
    np.testing.assert_allclose(ours, wanted[order], atol=1e-4)


@pytest.mark.parametrize("size", [(1, 1), (5, 8)])
def test_anchors_of_a_map(size):
    grid = AnchorGrid()
    assert np.array_equal(grid.of_map(2, paddle.zeros([2, 3, *size])).numpy(), grid.level(2, *size))
