"""DefectBlackout and BlackBar: what is black is no object, in boxes, masks and maps alike."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_samples import MARK, assert_same, make_sample, planes_of, samples, with_masks

from ppdet_ext.data.transforms import BlackBar, ClassMasks, DefectBlackout
from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.errors import UserError


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def bright(sample: Sample) -> Sample:
    """With no black pixel, so that black ones are those blacked out."""
    return replace(sample, image=np.maximum(sample.image, 1))


def check(sample: Sample, changed: Sample, covered: np.ndarray) -> None:
    """What `covered` (h, w) bool hides is gone from everything, the rest is as it was."""
    kept = [mask.to_bitmap().astype(bool) & ~covered for mask in sample.masks]
    labels = [label for label, bitmap in zip(sample.labels, kept) if bitmap.any()]
    assert changed.labels.tolist() == labels
    assert changed.dropped == 0
    for mask, box, bitmap in zip(changed.masks, changed.boxes, (bitmap for bitmap in kept if bitmap.any())):
        np.testing.assert_array_equal(mask.to_bitmap(), bitmap)
        np.testing.assert_array_equal(box, mask.box)
    np.testing.assert_array_equal(changed.image[~covered], sample.image[~covered])
    np.testing.assert_array_equal(changed.semantic, np.where(covered, 255, sample.semantic))
    np.testing.assert_array_equal(changed.class_masks, np.where(covered, 0, sample.class_masks))
    np.testing.assert_array_equal(changed.class_masks, planes_of(changed))


@settings(max_examples=80)
@given(samples, st.integers(0, 10**6), st.sampled_from(["mask", "box"]), st.sampled_from(["black", "mean"]))
def test_objects_blacked_out_are_gone_from_everything(sample, seed, area, fill) -> None:
    sample = bright(sample)
    before = replace(sample, image=sample.image.copy(), semantic=sample.semantic.copy(), class_masks=sample.class_masks.copy())
    transform = DefectBlackout(1.0, 0.5, area, fill)
    changed = transform(sample, rng(seed))
    assert_same(sample, before)
    assert_same(transform(sample, rng(seed)), changed)
    # The same objects are drawn whatever is put in their place.
    covered = (DefectBlackout(1.0, 0.5, area, "black")(sample, rng(seed)).image == 0).all(axis=2)
    check(sample, changed, covered)
    gone = np.zeros(sample.size, bool)
    for mask, box in zip(sample.masks, sample.boxes.astype(int)):
        if not (mask.to_bitmap().astype(bool) & ~covered).any():
            if area == "mask":
                gone |= mask.to_bitmap().astype(bool)
            else:
                gone[box[1] : box[3], box[0] : box[2]] = True
    assert (gone | ~covered).all()


def test_each_object_has_its_chance_and_crowds_have_none() -> None:
    bitmaps = np.zeros((4, 16, 16), np.uint8)
    for i, bitmap in enumerate(bitmaps):
        bitmap[4 * i : 4 * i + 2, 3:9] = 1
    sample = with_masks(make_sample(16, 16, 0), bitmaps, crowd=np.array([False, False, True, False]))
    left = [set(DefectBlackout(0.8, 0.25)(sample, rng(seed)).labels.tolist()) for seed in range(800)]
    for label, share in ((0, 0.8), (1, 0.8), (2, 1.0), (3, 0.8)):
        assert np.mean([label in labels for labels in left]) == pytest.approx(share, abs=0.05)
    everything = DefectBlackout(1.0, 1.0)(sample, rng())
    assert everything.labels.tolist() == [2]
    assert DefectBlackout(0.0)(sample, rng()) is sample
    clean = sample.keep(np.zeros(4, bool), count=False)
    assert DefectBlackout(1.0, 1.0)(clean, rng()) is clean
    # What is drawn from the masks after it knows nothing of them.
    target = ClassMasks(num_classes=4)
    assert not target(DefectBlackout(1.0, 1.0)(sample.keep(~sample.crowd), rng()), rng()).class_masks.any()


def test_the_mean_is_that_of_clean_pixels_around() -> None:
    bitmaps = np.zeros((2, 40, 60), np.uint8)
    bitmaps[0, 15:20, 20:30] = bitmaps[1, 15:20, 32:40] = 1
    image = np.full((40, 60, 3), (50, 60, 70), np.uint8)
    image[bitmaps.any(axis=0)] = 200
    image[:4], image[30:] = 250, 250
    sample = replace(with_masks(make_sample(40, 60, 0), bitmaps), image=image)
    changed = DefectBlackout(1.0, 1.0, fill="mean")(sample, rng())
    assert (changed.image[4:30] == (50, 60, 70)).all()
    np.testing.assert_array_equal(changed.image[30:], image[30:])
    # All of a picture is an object: there is nothing around, so it is the picture's own mean.
    whole = with_masks(replace(sample, image=np.full((40, 60, 3), 9, np.uint8)), np.ones((1, 40, 60), np.uint8))
    assert (DefectBlackout(1.0, 1.0, fill="mean")(whole, rng()).image == 9).all()


@settings(max_examples=80)
@given(samples, st.integers(0, 10**6), st.floats(0, 1))
def test_a_bar_is_black_from_the_edge_on_and_hides_what_is_under_it(sample, seed, share) -> None:
    sample = bright(sample)
    height, width = sample.size
    changed = BlackBar(0.7, 0.7, share)(sample, rng(seed))
    covered = (changed.image == 0).all(axis=2)
    check(sample, changed, covered)
    rows, columns = covered.all(axis=1), covered.all(axis=0)
    if not covered.all():
        np.testing.assert_array_equal(covered, rows[:, None] | columns)
        assert rows.sum() <= share * height
        assert columns.sum() <= share * width
        # One piece, at one of the two ends.
        for line in (rows, columns):
            assert line[: line.sum()].all() or line[len(line) - line.sum() :].all()


def test_bars_are_as_often_and_as_wide_as_it_says() -> None:
    sample = replace(make_sample(40, 80, 0, 0), image=np.full((40, 80, 3), MARK, np.uint8))
    edges = (np.array([0, 39, 20, 20]), np.array([40, 40, 0, 79]))
    black = np.array([(BlackBar()(sample, rng(seed)).image[..., 0] == 0)[edges] for seed in range(1500)])
    # A bar that is narrower than a pixel is none: 1 of 12 at the top, 1 of 24 at a side.
    expected = (0.05 * 11 / 12, 0.05 * 11 / 12, 23 / 24 / 6, 23 / 24 / 6)
    np.testing.assert_allclose(black.mean(axis=0), expected, atol=0.03)
    widths = [int((BlackBar(1.0, 0.0)(sample, rng(seed)).image[20, :, 0] == 0).sum()) for seed in range(500)]
    assert (min(widths), max(widths)) == (0, 23)
    assert np.mean(widths) == pytest.approx(11.5, abs=1)
    assert BlackBar(0.0, 0.0)(sample, rng()) is sample


@pytest.mark.parametrize("kinds", [(DefectBlackout(0.0), DefectBlackout(1.0, 1.0)), (BlackBar(0, 0), BlackBar(1, 1))])
def test_settings_do_not_change_what_later_transforms_draw(kinds) -> None:
    drawn = []
    for transform in kinds:
        generator = rng(3)
        transform(make_sample(12, 20, 1), generator)
        drawn.append(generator.random(8).tolist())
    assert drawn[0] == drawn[1]


@pytest.mark.parametrize(("make", "message"), [
    (lambda: DefectBlackout(1.5), r"DefectBlackout\.probability: 1\.5 is no number from 0 to 1"),
    (lambda: DefectBlackout(each=-1), r"DefectBlackout\.each: -1 is no number from 0 to 1"),
    (lambda: DefectBlackout(area="boxes"), r"DefectBlackout\.area: 'boxes' is not one of mask, box\. Did you mean 'box'"),
    (lambda: DefectBlackout(fill="white"), r"DefectBlackout\.fill: 'white' is not one of black, mean"),
    (lambda: BlackBar(share=2), r"BlackBar\.share: 2 is no number from 0 to 1"),
    (lambda: BlackBar(ends="0.1"), r"BlackBar\.ends: '0\.1' is no number"),
])  # fmt: skip
def test_settings_that_make_no_sense_are_refused(make, message) -> None:
    with pytest.raises(UserError, match=message):
        make()
