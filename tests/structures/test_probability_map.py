"""Probability maps, and candidates made of them: what is kept, what rounding costs, what a threshold cuts."""

import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ppdet_ext.errors import DivergenceError
from ppdet_ext.structures import Candidates, ProbabilityMap, Rle
from ppdet_ext.structures.paste import paste_masks
from ppdet_ext.structures.probability_map import LEAST, resize_maps

SIDES = st.integers(1, 9)
ON_LEVELS = st.integers(0, 255).map(lambda level: np.float32(level) / np.float32(255))
VALUES = st.one_of(st.just(np.float32(0)), ON_LEVELS, st.floats(0, 1, width=32))
MAPS = arrays(np.float32, st.tuples(SIDES, SIDES), elements=VALUES)
CLASS_MAPS = arrays(np.float32, st.tuples(st.integers(1, 4), SIDES, SIDES), elements=VALUES)
THRESHOLDS = st.one_of(st.floats(0.001, 1), ON_LEVELS.filter(lambda p: p > 0).map(float))


@given(MAPS, THRESHOLDS)
@settings(max_examples=100)
def test_a_mask_is_a_plain_comparison(values: np.ndarray, threshold: float) -> None:
    one = ProbabilityMap.of(values)
    assert one.mask(threshold) == Rle.from_bitmap(values >= np.float32(threshold))
    rounded = one.quantised()
    assert rounded.mask(threshold) == Rle.from_bitmap(rounded.dense() >= np.float32(threshold))


@given(MAPS)
@settings(max_examples=100)
def test_what_is_kept(values: np.ndarray) -> None:
    one = ProbabilityMap.of(values)
    assert one.dense().tobytes() == values.tobytes()
    assert one.max == values.max()
    rounded = pickle.loads(pickle.dumps(one.quantised()))
    np.testing.assert_array_equal(rounded.dense(), np.rint(values * np.float32(255)) / np.float32(255))
    assert np.abs(rounded.dense() - values).max() <= 1 / 510 + 1e-7
    assert rounded.quantised() is rounded
    assert (rounded.size, rounded.max) == (values.shape, rounded.dense().max())
    # Stored levels are stored again as they are.
    again = ProbabilityMap.of(rounded.dense()).quantised()
    assert (again.box, again.stored) == (rounded.box, rounded.stored)


@given(MAPS)
@settings(max_examples=60)
def test_the_box_is_as_small_as_can_be(values: np.ndarray) -> None:
    one = ProbabilityMap.of(values)
    extent, likely = one.extent(), Rle.from_bitmap(values >= np.float32(LEAST))
    assert extent == (likely.box if likely else None)
    for kept in (one, one.quantised()):
        part = kept.values()
        sides = (part[0], part[-1], part[:, 0], part[:, -1]) if part.size else ()
        assert all(side.max() > 0 for side in sides)
    assert ProbabilityMap.of(np.zeros((4, 5), np.float32)).quantised().box == (0, 0, 0, 0)


def test_refused() -> None:
    with pytest.raises(ValueError, match="shape"):
        ProbabilityMap.of(np.zeros((1, 2, 3), np.float32))
    for threshold in (0, 1.1, float("nan")):
        with pytest.raises(ValueError, match="threshold"):
            ProbabilityMap.empty(3, 4).mask(threshold)
    one = ProbabilityMap.empty(3, 4)
    box, score, label = np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64)
    with pytest.raises(ValueError, match="2 probability maps for 1"):
        Candidates(3, 4, box, score, label, maps=[one, one])
    with pytest.raises(ValueError, match="beside"):
        Candidates(3, 4, box, score, label, np.zeros((1, 2, 2), np.float32), maps=[one])
    with pytest.raises(ValueError, match="in an image of 5x4"):
        Candidates(5, 4, box, score, label, maps=[one])


@given(CLASS_MAPS, st.floats(0.1, 0.9), st.floats(0, 0.9))
@settings(max_examples=100)
def test_candidates_are_the_likely_classes(maps: np.ndarray, threshold: float, above: float) -> None:
    presence = np.linspace(0, 1, len(maps), dtype=np.float32)
    found = Candidates.of_class_maps(maps, presence, above)
    highest = maps.max(axis=(1, 2))
    assert sorted(found.labels) == [k for k, p in enumerate(highest) if p >= np.float32(LEAST) and p > above]
    assert found.scores.tolist() == sorted(highest[found.labels], reverse=True)
    cut = found.detections(threshold)
    expected = [maps[label] >= np.float32(threshold) for label in found.labels]
    assert [mask.to_bitmap().tolist() for mask in cut.masks] == [inside.tolist() for inside in expected if inside.any()]
    assert [tuple(box) for box in cut.boxes] == [mask.box for mask in cut.masks]
    assert len(found.masks(threshold)) == len(found)
    # Of each its own threshold, and what is chosen keeps map and presence.
    last = found.select(np.arange(len(found))[::-1][:1])
    assert last.presence is presence
    assert [one.max for one in last.maps] == last.scores.tolist()
    own = np.linspace(0.2, 0.8, len(found))
    assert found.masks(own) == [one.mask(t) for one, t in zip(found.maps, own)]


@given(CLASS_MAPS)
@settings(max_examples=60)
def test_maps_come_back(maps: np.ndarray) -> None:
    there = maps * (maps.max(axis=(1, 2), keepdims=True) >= np.float32(LEAST))
    assert Candidates.of_class_maps(maps).class_maps(len(maps)).tobytes() == there.tobytes()


def test_not_a_number_is_an_error() -> None:
    maps = np.full((2, 3, 4), 0.5, np.float32)
    maps[1, 2, 3] = np.nan
    with pytest.raises(DivergenceError):
        Candidates.of_class_maps(maps)
    with pytest.raises(DivergenceError):
        Candidates.of_presence(3, 4, np.array([0.5, np.inf], np.float32))


def test_a_classifier_finds_every_class_in_the_whole_image() -> None:
    found = Candidates.of_presence(3, 4, np.array([0.25, 0.0, 0.75], np.float32))
    assert found.labels.tolist() == [2, 0, 1]
    assert found.scores.tolist() == [0.75, 0.25, 0.0]
    assert found.boxes.tolist() == [[0, 0, 4, 3]] * 3
    assert found.detections().masks is None
    with pytest.raises(ValueError, match="boxes without masks"):
        found.class_maps(3)


@given(st.integers(0, 2**31), st.integers(1, 6))
@settings(max_examples=40)
def test_the_map_of_objects_is_cut_where_their_masks_are(seed: int, count: int) -> None:
    """With scores of 1, pixels above a threshold are those of any mask of the class."""
    rng = np.random.default_rng(seed)
    corners = np.sort(rng.uniform(-5, 45, (count, 2, 2)), axis=1)
    boxes = corners.reshape(count, 4).astype(np.float32)
    probs, labels = rng.random((count, 5, 5), np.float32), rng.integers(0, 2, count)
    found = Candidates(30, 40, boxes, np.ones(count, np.float32), labels, probs)
    maps, masks = found.class_maps(2), paste_masks(probs, boxes, 30, 40, 0.5)
    for label in (0, 1):
        own = [mask for mask, its in zip(masks, labels) if its == label]
        union = (Rle.merge(own) if own else Rle.empty(30, 40)).to_bitmap().astype(bool)
        assert ((union == (maps[label] >= 0.5)) | (np.abs(maps[label] - 0.5) < 1e-5)).all()
    half = Candidates(30, 40, boxes, np.full(count, 0.5, np.float32), labels, probs)
    np.testing.assert_allclose(half.class_maps(2), maps / 2, atol=1e-7)


def test_resizing() -> None:
    maps = np.random.default_rng(0).random((2, 6, 8), np.float32)
    assert resize_maps(maps, 6, 8) is maps
    assert resize_maps(maps, 12, 24).shape == (2, 12, 24)
    np.testing.assert_allclose(resize_maps(maps[:, :, ::-1].copy(), 12, 24)[:, :, ::-1], resize_maps(maps, 12, 24), atol=1e-6)
    flat = np.full((1, 5, 7), 0.3, np.float32)
    np.testing.assert_allclose(resize_maps(flat, 3, 20), 0.3, atol=1e-6)
