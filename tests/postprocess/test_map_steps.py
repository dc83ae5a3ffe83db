"""Steps on probability maps, beside plain array code that does the same."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from postprocess_cases import IDS, NAMES, SIZE, candidates, columns, mapped, masked, step_of, steps_of

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle
from ppdet_ext.structures.candidates import Candidates

SEEDS = st.integers(0, 10_000)
SHARES = st.floats(0.01, 1)


def planes(found: Candidates | Detections) -> np.ndarray:
    """(classes, height, width) float32 probabilities, or masks of the classes."""
    if isinstance(found, Candidates):
        return found.class_maps(len(NAMES))
    whole = np.zeros((len(NAMES), *SIZE), np.float32)
    for label, mask in zip(found.labels, found.masks or []):
        whole[label] += mask.to_bitmap()
    return whole


@settings(max_examples=40)
@given(seed=SEEDS, threshold=st.floats(0, 1), quantised=st.booleans())
def test_a_pixel_goes_to_the_likeliest_class(seed: int, threshold: float, quantised: bool) -> None:
    found = mapped(np.random.default_rng(seed), quantised)
    before = planes(found)
    claims = np.where(before >= np.float32(threshold), before, 0)
    winner = claims.argmax(axis=0)
    lost = (claims.max(axis=0) > 0) & (np.arange(len(NAMES))[:, None, None] != winner)
    left = step_of("LikeliestClass", threshold=threshold)(found, "a.jpg")
    assert np.array_equal(planes(left), np.where(lost, 0, before))
    assert (np.diff(left.scores) <= 0).all()
    assert all(one.is_quantised == quantised for one in left.maps or [])
    assert left.presence is found.presence
    for score, box, one in zip(left.scores, left.boxes, left.maps or []):
        assert score == np.float32(one.max)
        assert tuple(box) == one.extent()


@settings(max_examples=40)
@given(seed=SEEDS, high=SHARES, low=SHARES)
def test_an_extent_needs_a_core(seed: int, high: float, low: float) -> None:
    core, extent = max(high, low), min(high, low)
    found = mapped(np.random.default_rng(seed))
    expected = np.zeros((len(NAMES), *SIZE), np.float32)
    for plane, probability in zip(expected, planes(found)):
        _, parts = cv2.connectedComponents((probability >= np.float32(extent)).astype(np.uint8), connectivity=8)
        held = np.setdiff1d(parts[probability >= np.float32(core)], [0])
        plane[np.isin(parts, held)] = 1
    made = steps_of({"CoreExtent": {"core": core, "extent": extent}})(found, "a.jpg")
    assert np.array_equal(planes(made), expected)
    assert all(made.masks or [])


def test_one_threshold_for_core_and_extent_is_a_mask_threshold() -> None:
    for found in (candidates(np.random.default_rng(3)), mapped(np.random.default_rng(3))):
        both = steps_of({"CoreExtent": {"core": 0.6, "extent": 0.6}})(found, "a.jpg")
        one = steps_of({"MaskThreshold": {"threshold": 0.6}})(found, "a.jpg")
        assert both.masks == one.masks
        assert both.boxes.tolist() == one.boxes.tolist()


@settings(max_examples=40)
@given(seed=SEEDS, threshold=SHARES, area=st.integers(0, 60))
def test_parts_of_a_class_become_objects(seed: int, threshold: float, area: int) -> None:
    found = mapped(np.random.default_rng(seed))
    made = step_of("Components", min_area=area, threshold=threshold)(found, "a.jpg")
    expected = []
    for label, probability in enumerate(planes(found)):
        count, parts = cv2.connectedComponents((probability >= np.float32(threshold)).astype(np.uint8), connectivity=8)
        for number in range(1, count):
            if (parts == number).sum() >= area:
                expected.append((label, Rle.from_bitmap(parts == number), probability[parts == number].mean(dtype=np.float64)))
    assert len(made) == len(expected)
    assert (np.diff(made.scores) <= 0).all()
    scores = {(label, mask.counts): score for label, mask, score in expected}
    for label, mask, score, box in zip(made.labels.tolist(), made.masks or [], made.scores.tolist(), made.boxes.tolist()):
        assert score == pytest.approx(scores[label, mask.counts], abs=1e-6)
        assert tuple(box) == mask.box


def test_parts_of_objects_keep_the_score_of_the_whole() -> None:
    parted = columns(0, 3).union(columns(10, 12))
    found = masked([parted, columns(20, 25)], [1, 2], [0.9, 0.8])
    made = step_of("Components", min_area={"shoe": 60})(found, "a.jpg")
    assert made.masks == [columns(0, 3), columns(20, 25)]
    assert made.scores.tolist() == found.scores.tolist()
    # A mask of one part keeps the box the model predicted.
    assert made.boxes.tolist() == [list(columns(0, 3).box), found.boxes[1].tolist()]


def test_order_and_settings_that_cannot_be() -> None:
    with pytest.raises(UserError, match="LikeliestClass works on mask probabilities; put it before CoreExtent"):
        steps_of({"CoreExtent": {}}, {"LikeliestClass": {}})
    with pytest.raises(UserError, match="MaskThreshold works on mask probabilities; put it before Components"):
        steps_of({"Components": {}}, {"MaskThreshold": {}})
    with pytest.raises(UserError, match=r"of shoe, core 0\.3 is below extent 0\.4"):
        steps_of({"CoreExtent": {"core": {"shoe": 0.3}}})
    with pytest.raises(UserError, match="take SuppressOverlaps instead"):
        step_of("LikeliestClass")(candidates(np.random.default_rng(0)), "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg has no masks, which Components works on"):
        step_of("Components")(Candidates.of_presence(*SIZE, np.ones(3)), "a.jpg")


def test_a_picture_is_decoded_once_and_only_if_asked_for() -> None:
    from ppdet_ext.postprocess import ImageContext, PostProcess, Step

    class Looks(Step):
        needs_image = True

        def apply(self, detections, image: ImageContext):
            assert image.picture.shape == (*SIZE, 3)
            return detections

    reads = []

    def read() -> np.ndarray:
        reads.append(1)
        return np.zeros((*SIZE, 3), np.uint8)

    found = mapped(np.random.default_rng(0))
    steps = PostProcess([], NAMES, IDS)
    steps(found, "a.jpg", read)
    assert not steps.needs_image
    assert not reads
    steps.steps = [Looks(), Looks()]
    steps(found, "a.jpg", read)
    assert steps.needs_image
    assert len(reads) == 1
    with pytest.raises(UserError, match=r"the picture of a\.jpg is not at hand"):
        steps(found, "a.jpg")
