"""Crops are exact, aim at defects, and drop what they leave too little of."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from transform_samples import assert_consistent, assert_same, make_sample, samples, with_masks

from ppdet_ext.data.transforms import CropAroundDefect
from ppdet_ext.data.transforms.crop import crop_sample, random_pixel
from ppdet_ext.structures import Rle


@settings(max_examples=60)
@given(samples, st.integers(0, 10**6))
def test_crops_are_exact(sample, seed):
    rng = np.random.default_rng(seed)
    height, width = sample.size
    h, w = int(rng.integers(1, height + 1)), int(rng.integers(1, width + 1))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    cropped = crop_sample(sample, top, left, h, w)
    assert cropped.size == (h, w)
    assert len(cropped.masks) == sum(bool(mask.crop(top, left, top + h, left + w)) for mask in sample.masks)
    # What lies outside the window is missing from no picture, so it is not counted.
    assert cropped.dropped == 0
    assert_consistent(cropped)
    np.testing.assert_array_equal(cropped.image, sample.image[top : top + h, left : left + w])


def test_a_whole_crop_is_the_identity():
    sample = make_sample(12, 20, 1)
    assert_same(crop_sample(sample, 0, 0, 12, 20), sample)


def test_boxes_inside_a_crop_are_moved_those_cut_are_measured_again():
    bitmaps = np.zeros((2, 20, 20), np.uint8)
    bitmaps[0, 2:6, 2:6] = 1
    bitmaps[1, 8:12, 0] = bitmaps[1, 11] = 1
    boxes = np.array([[1.5, 1.5, 6.5, 6.5], [0, 8, 20, 12]], np.float32)
    sample = with_masks(make_sample(20, 20, 0), bitmaps, boxes=boxes)
    cropped = crop_sample(sample, 1, 1, 15, 15)
    np.testing.assert_array_equal(cropped.boxes, [[0.5, 0.5, 5.5, 5.5], [0, 10, 15, 11]])


def test_slivers_are_dropped_and_counted_whole_instances_never():
    bitmaps = np.zeros((3, 20, 20), np.uint8)
    bitmaps[0, 5, 5] = 1
    bitmaps[1, 10:14, 8:16] = 1
    bitmaps[2, 0:4, 15:20] = 1
    sample = with_masks(make_sample(20, 20, 0), bitmaps)
    cropped = crop_sample(sample, 0, 0, 15, 10, min_area=9)
    assert cropped.labels.tolist() == [0]
    assert cropped.dropped == 1
    assert crop_sample(sample, 0, 0, 15, 10, min_area=8).labels.tolist() == [0, 1]


@settings(max_examples=60)
@given(samples, st.integers(0, 10**6))
def test_an_aimed_crop_shows_part_of_an_instance(sample, seed):
    crop = CropAroundDefect(height=6, width=9, probability=1.0, min_area=1)
    cropped = crop(sample, np.random.default_rng(seed))
    assert cropped.size == (min(6, sample.size[0]), min(9, sample.size[1]))
    assert_consistent(replace(cropped, dropped=0))
    assert len(cropped.masks) >= min(1, len(sample.masks))


def test_an_aimed_crop_ignores_crowds():
    bitmaps = np.zeros((2, 32, 64), np.uint8)
    bitmaps[0, :, 60:] = 1
    bitmaps[1, 3, 3] = 1
    sample = with_masks(make_sample(32, 64, 0), bitmaps, crowd=np.array([True, False]))
    crop = CropAroundDefect(8, 8, probability=1.0, min_area=1)
    for seed in range(20):
        assert crop(sample, np.random.default_rng(seed)).labels.tolist() == [1]
    aimed = [len(CropAroundDefect(8, 8, 0.0)(sample, np.random.default_rng(seed)).labels) for seed in range(40)]
    assert 0 in aimed


def test_random_pixels_cover_a_mask_evenly():
    bitmap = np.zeros((5, 7), np.uint8)
    bitmap[1, 1] = bitmap[3:5, 4] = bitmap[0, 5] = 1
    mask, rng = Rle.from_bitmap(bitmap), np.random.default_rng(0)
    counts = np.zeros((5, 7))
    for _ in range(400):
        counts[random_pixel(mask, rng)] += 1
    assert (counts[bitmap == 0] == 0).all()
    assert (counts[bitmap == 1] > 60).all()
