"""Merging proposals and averaging, against loops and by hand."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.inference.ensemble import WeightedMean, merge_proposals, per_class


def iou(a, b) -> float:
    w = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    h = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def slow_merge(boxes, scores, view, threshold, limit) -> list[int]:
    kept: list[int] = []
    for i in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        others = [k for k in kept if view[k] != view[i]]
        if len(kept) < limit and all(iou(boxes[i], boxes[k]) <= threshold for k in others):
            kept.append(i)
    return kept


def random_proposals(seed: int, count: int, views: int):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 40, (count, 2)), rng.uniform(20, 60, (count, 2))
    boxes = np.concatenate([corner, corner + size], axis=1)
    return boxes, rng.integers(0, 20, count).astype(np.float32) / 20, rng.integers(0, views, count)


@given(st.integers(0, 10**6), st.integers(0, 40), st.integers(1, 4), st.integers(0, 30))
def test_merging_agrees_with_loops(seed, count, views, limit):
    boxes, scores, view = random_proposals(seed, count, views)
    assert merge_proposals(boxes, scores, view, 0.5, limit).tolist() == slow_merge(boxes, scores, view, 0.5, limit)


def test_one_views_proposals_pass_however_much_they_overlap():
    boxes, scores, view = random_proposals(0, 30, 1)
    assert sorted(merge_proposals(boxes, scores, view, 0.1, 100)) == list(range(30))


def test_the_better_of_two_views_stays():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60]], float)
    assert merge_proposals(boxes, np.array([0.3, 0.8, 0.1]), np.array([0, 1, 0]), 0.7, 10).tolist() == [1, 2]
    assert merge_proposals(boxes, np.array([0.3, 0.8, 0.1]), np.array([0, 1, 0]), 0.95, 10).tolist() == [1, 0, 2]
    assert merge_proposals(boxes, np.array([0.3, 0.8, 0.1]), np.array([0, 1, 0]), 0.95, 2).tolist() == [1, 0]


def test_means_by_hand():
    mean = WeightedMean()
    mean.add(np.array([1.0, 0.5], np.float32))
    assert mean.value.tolist() == [1.0, 0.5]
    mean.add(np.array([0.0, 0.1]), weight=3.0)
    np.testing.assert_allclose(mean.value, [0.25, 0.2], rtol=1e-15)


def test_the_mean_of_equals_is_that_to_the_last_bit():
    values = np.random.default_rng(0).random(1000, np.float32)
    mean = WeightedMean()
    for _ in range(3):
        mean.add(values)
    np.testing.assert_array_equal(mean.value.astype(np.float32), values)


def test_boxes_of_each_class():
    boxes = np.arange(8.0).reshape(2, 4)
    assert per_class(boxes, 3).tolist() == [[boxes[0].tolist()] * 3, [boxes[1].tolist()] * 3]
    assert per_class(per_class(boxes, 3), 3).shape == (2, 3, 4)
