"""Assignment and sampling rules."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.detection.assignment import IGNORED, NEGATIVE, IoUAssigner, RoISampler, choose, keys_of, sample_balanced
from ppdet_ext.modeling.ops.boxes import multiclass_nms, nms, pairwise_iou

BOX = np.array([[0, 0, 10, 10]], np.float32)


def shifted(*shifts: float) -> np.ndarray:
    return np.concatenate([BOX + np.array([s, 0, s, 0], np.float32) for s in shifts])


def test_thresholds():
    # IoU with the object: 1, 9/11, 1/3, 0
    assigner = IoUAssigner(positive=0.8, negative=0.3, min_positive=0.9)
    assert assigner(shifted(0, 1, 5, 20), BOX).tolist() == [0, 0, IGNORED, NEGATIVE]


def test_low_quality_matching_gives_an_object_its_best_box():
    boxes = shifted(5, 6)
    assert IoUAssigner(0.7, 0.7, 0.3)(boxes, BOX).tolist() == [0, NEGATIVE]
    assert IoUAssigner(0.7, 0.7, 0.3, low_quality=False)(boxes, BOX).tolist() == [NEGATIVE, NEGATIVE]


def test_low_quality_matching_takes_a_box_from_the_object_it_overlaps_more():
    # IoU 9/11 with the first object, 2/3 with the second, whose best box it is (HTC: min_positive = positive).
    objects, boxes = shifted(0, 3), shifted(1)
    assert IoUAssigner(0.5, 0.5, 0.5)(boxes, objects).tolist() == [1]
    assert IoUAssigner(0.5, 0.5, 0.5, low_quality=False)(boxes, objects).tolist() == [0]
    sample = RoISampler(IoUAssigner(0.5, 0.5, 0.5))(boxes, objects)
    assert sample.object_index.tolist() == [0, 1, 1]


def test_all_of_an_objects_equally_best_boxes_are_positive():
    boxes, far = shifted(6, -6, 4, 20), IoUAssigner(0.7, 0.3, 0.3)
    assert far(boxes, BOX).tolist() == [NEGATIVE, NEGATIVE, 0, NEGATIVE]
    assert far(boxes[[0, 1, 3]], BOX).tolist() == [NEGATIVE] * 3, "IoU 1/4 is less than min_positive"
    assert IoUAssigner(0.7, 0.3, 0.2)(boxes[[0, 1, 3]], BOX).tolist() == [0, 0, NEGATIVE]


def dense(boxes: np.ndarray, objects: np.ndarray, low: float, high: float, least: float, low_quality: bool) -> np.ndarray:
    """mmdetection's MaxIoUAssigner, line by line: 0 is negative, −1 ignored, k + 1 object k."""
    overlaps = pairwise_iou(objects, boxes)
    assigned = np.full(len(boxes), -1)
    best, owner = overlaps.max(axis=0), overlaps.argmax(axis=0)
    assigned[(best >= 0) & (best < low)] = 0
    assigned[best >= high] = owner[best >= high] + 1
    if low_quality:
        for k, most in enumerate(overlaps.max(axis=1)):
            if most >= least:
                assigned[overlaps[k] == most] = k + 1
    return assigned


@settings(max_examples=200)
@given(
    seed=st.integers(0, 10_000),
    thresholds=st.sampled_from([(0.3, 0.7, 0.3), (0.5, 0.5, 0.5), (0.7, 0.7, 0.7)]),
    low_quality=st.booleans(),
)
def test_assigns_as_the_reference_does(seed, thresholds, low_quality):
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, 8, (46, 2))  # on a coarse grid, so that many overlap and tie
    every = np.concatenate([corner, corner + rng.integers(4, 9, (46, 2))], axis=1).astype(np.float32)
    boxes, objects = every[:40], every[40:]
    low, high, least = thresholds
    ours = IoUAssigner(high, low, least, low_quality)(boxes, objects)
    theirs = dense(boxes, objects, low, high, least, low_quality)
    assert np.array_equal(ours, np.where(theirs > 0, theirs - 1, np.where(theirs == 0, NEGATIVE, IGNORED)))


def test_without_objects_all_are_negative():
    assert IoUAssigner(0.5, 0.5, 0.5)(shifted(0, 1), np.zeros((0, 4), np.float32)).tolist() == [NEGATIVE] * 2


def test_objects_join_the_sample_first():
    sample = RoISampler(IoUAssigner(0.5, 0.5, 0.5), count=4, positive_fraction=0.5)(shifted(1, 50), BOX)
    assert sample.is_object.tolist() == [True, False]
    assert np.array_equal(sample.boxes, np.concatenate([BOX, shifted(1, 50)]))


def test_sample_of_no_proposals_is_the_objects():
    sample = RoISampler(IoUAssigner(0.5, 0.5, 0.5))(np.zeros((0, 4), np.float32), BOX)
    assert np.array_equal(sample.boxes, BOX)


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), count=st.integers(1, 40), fraction=st.floats(0, 1))
def test_sample_keeps_its_bounds(seed, count, fraction):
    rng = np.random.default_rng(seed)
    assigned = rng.integers(-2, 3, 60)
    positive, negative = sample_balanced(assigned, count, fraction, keys_of(rng, 60))
    assert len(positive) <= int(count * fraction)
    assert len(positive) + len(negative) <= count
    assert (assigned[positive] >= 0).all()
    assert (assigned[negative] == NEGATIVE).all()
    assert len(set(positive)) == len(positive)


def test_choice_depends_on_the_generator_only():
    index = np.arange(100)
    a, b = (choose(index, 10, keys_of(np.random.default_rng(3), 100)) for _ in range(2))
    assert np.array_equal(a, b)
    assert not np.array_equal(a, choose(index, 10, keys_of(np.random.default_rng(4), 100)))
    assert np.array_equal(choose(index, 10, keys_of(None, 100)), np.arange(10))


@settings(max_examples=50)
@given(seed=st.integers(0, 1000), threshold=st.floats(0.1, 0.9))
def test_nms_keeps_no_overlapping_pair_and_drops_only_overlapped(seed, threshold):
    rng = np.random.default_rng(seed)
    corner, size = rng.uniform(0, 50, (40, 2)), rng.uniform(5, 30, (40, 2))
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    scores = rng.random(40).astype(np.float32)
    keep = nms(boxes, scores, threshold)
    iou = pairwise_iou(boxes, boxes)
    kept = iou[np.ix_(keep, keep)] - np.eye(len(keep))
    assert kept.max() <= threshold + 1e-5
    for lost in set(range(40)) - set(keep.tolist()):
        better = [k for k in keep if scores[k] >= scores[lost]]
        assert iou[lost, better].max() > threshold - 1e-5
    assert np.array_equal(nms(boxes, scores, threshold, 5), keep[:5])


def test_multiclass_nms_is_strict_about_the_score_and_separate_by_class():
    boxes = np.concatenate([BOX, BOX])
    scores = np.array([[0.9, 0.5], [0.8, 0.05]], np.float32)
    index, labels, best = multiclass_nms(boxes, scores, 0.05, 0.5, 10)
    assert list(zip(index, labels)) == [(0, 0), (0, 1)]
    assert best.tolist() == [np.float32(0.9), np.float32(0.5)]


@settings(max_examples=100)
@given(seed=st.integers(0, 9999), size=st.integers(0, 30), count=st.integers(0, 30))
def test_choice_takes_the_largest_keys_and_of_equal_ones_the_first(seed, size, count):
    rng = np.random.default_rng(seed)
    index, keys = np.flatnonzero(rng.random(30) < size / 30), rng.integers(0, 4, 30).astype(np.float32)
    wanted = np.sort(index[np.argsort(-keys[index], kind="stable")[:count]])
    assert np.array_equal(choose(index, count, keys), wanted)
