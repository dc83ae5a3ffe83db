"""Image, boxes, masks and semantic map move together."""

from dataclasses import replace

import cv2
import numpy as np
import ppdet.data.transform
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ppdet.core.workspace import get_registered_modules
from tiny_data import write_jpeg

from ppdet_ext.data import Sample, transforms
from ppdet_ext.data.base import register_transform
from ppdet_ext.data.transforms import (
    CropAroundDefect,
    FlipImage,
    JitterColor,
    NormalizeToCHW,
    ReadImage,
    ResizeFixed,
    ResizeShortEdge,
    SemanticFromMap,
    SemanticFromMasks,
)
from ppdet_ext.data.transforms.crop import crop_sample, random_pixel
from ppdet_ext.data.transforms.flip import flip_horizontal, flip_vertical
from ppdet_ext.data.transforms.resize import resize_sample
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

MARK = 40


def make_sample(height: int, width: int, seed: int, instances: int = 3, semantic: bool = True) -> Sample:
    """A sample whose red channel shows the union of its masks, and whose semantic map shows it again."""
    rng = np.random.default_rng(seed)
    bitmaps = np.zeros((instances, height, width), np.uint8)
    for bitmap in bitmaps:
        for _ in range(int(rng.integers(1, 3))):
            y, x = int(rng.integers(height)), int(rng.integers(width))
            bitmap[y : y + int(rng.integers(1, height + 1)), x : x + int(rng.integers(1, width + 1))] = 1
    union = bitmaps.any(axis=0) if instances else np.zeros((height, width), bool)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    image[..., 0] = union * MARK
    masks = [Rle.from_bitmap(bitmap) for bitmap in bitmaps]
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    return Sample(
        image,
        boxes,
        rng.integers(0, 4, instances),
        masks,
        np.zeros(instances, bool),
        union.astype(np.uint8) if semantic else None,
        5,
        "a.jpg",
        "a.jpg",
        None,
        (height, width),
    )


def assert_consistent(sample: Sample, exact_boxes: bool = True) -> None:
    height, width = sample.size
    assert sample.image.shape == (height, width, 3)
    assert sample.boxes.dtype == np.float32
    n = len(sample.labels)
    assert sample.boxes.shape == (n, 4)
    assert len(sample.masks) == n == len(sample.crowd)
    union = np.zeros((height, width), bool)
    for box, mask in zip(sample.boxes, sample.masks):
        assert mask.size == (height, width)
        assert mask.area > 0
        union |= mask.to_bitmap().astype(bool)
        assert 0 <= box[0] < box[2] <= width
        assert 0 <= box[1] < box[3] <= height
        if exact_boxes:
            np.testing.assert_array_equal(box, mask.box)
    if not sample.dropped:
        np.testing.assert_array_equal(sample.semantic, union)
        if exact_boxes:
            np.testing.assert_array_equal(sample.image[..., 0], union * MARK)


def assert_same(a: Sample, b: Sample) -> None:
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.semantic, b.semantic)
    assert a.masks == b.masks


samples = st.builds(make_sample, st.integers(4, 24), st.integers(4, 40), st.integers(0, 10**6), st.integers(0, 4))


@settings(max_examples=60, deadline=None)
@given(samples)
def test_flips_are_exact_and_twice_is_the_identity(sample):
    for flip in (flip_horizontal, flip_vertical):
        assert_consistent(flip(sample))
        assert_same(flip(flip(sample)), sample)
    assert_same(flip_vertical(flip_horizontal(sample)), flip_horizontal(flip_vertical(sample)))


@settings(max_examples=60, deadline=None)
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
    bitmap = np.zeros((20, 20), np.uint8)
    bitmap[2:6, 2:6] = 1
    corner = np.zeros((20, 20), np.uint8)
    corner[8:12, 0] = corner[11, 0:20] = 1
    sample = replace(
        make_sample(20, 20, 0, 2),
        masks=[Rle.from_bitmap(bitmap), Rle.from_bitmap(corner)],
        boxes=np.array([[1.5, 1.5, 6.5, 6.5], [0, 8, 20, 12]], np.float32),
    )
    cropped = crop_sample(sample, 1, 1, 15, 15)
    np.testing.assert_array_equal(cropped.boxes, [[0.5, 0.5, 5.5, 5.5], [0, 10, 15, 11]])


def test_slivers_are_dropped_and_counted_whole_instances_never():
    bitmaps = np.zeros((3, 20, 20), np.uint8)
    bitmaps[0, 5, 5] = 1
    bitmaps[1, 10:14, 8:16] = 1
    bitmaps[2, 0:4, 15:20] = 1
    masks = [Rle.from_bitmap(bitmap) for bitmap in bitmaps]
    boxes = np.array([mask.box for mask in masks], np.float32)
    sample = replace(make_sample(20, 20, 0, 3), masks=masks, boxes=boxes, labels=np.array([0, 1, 2]))
    cropped = crop_sample(sample, 0, 0, 15, 10, min_area=9)
    assert cropped.labels.tolist() == [0]
    assert cropped.dropped == 1
    assert crop_sample(sample, 0, 0, 15, 10, min_area=8).labels.tolist() == [0, 1]


@settings(max_examples=60, deadline=None)
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
    masks = [Rle.from_bitmap(bitmap) for bitmap in bitmaps]
    sample = replace(
        make_sample(32, 64, 0, 2),
        masks=masks,
        crowd=np.array([True, False]),
        boxes=np.array([mask.box for mask in masks], np.float32),
        labels=np.array([0, 1]),
    )
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


@settings(max_examples=60, deadline=None)
@given(samples, st.integers(1, 60), st.integers(1, 60))
def test_resizing_keeps_everything_together(sample, height, width):
    resized = resize_sample(sample, height, width)
    old_height, old_width = sample.size
    assert resized.size == (height, width)
    assert resized.scale_factor == (height / old_height, width / old_width)
    assert_consistent(resized, exact_boxes=False)
    # A mask stays in its box up to one new pixel; making it smaller may lose thin parts, making it larger may not.
    grown = height >= old_height and width >= old_width
    for box, mask in zip(resized.boxes, resized.masks):
        inner = np.array(mask.box)
        assert (box[:2] - 1 <= inner[:2]).all()
        assert (inner[2:] <= box[2:] + 1).all()
        assert not grown or (np.abs(box - inner) <= 1).all()


@settings(max_examples=30, deadline=None)
@given(samples, st.integers(1, 4))
def test_whole_magnifications_keep_boxes_exact(sample, factor):
    height, width = sample.size
    resized = resize_sample(sample, height * factor, width * factor)
    assert resized.dropped == 0
    for box, mask in zip(resized.boxes, resized.masks):
        np.testing.assert_array_equal(box, mask.box)
    bitmap = cv2.resize(sample.semantic, (width * factor, height * factor), interpolation=cv2.INTER_NEAREST)
    np.testing.assert_array_equal(resized.semantic, bitmap)


def test_masks_that_vanish_are_dropped_and_counted():
    sample = make_sample(20, 20, 0, 1)
    dot = np.zeros((20, 20), np.uint8)
    dot[1, 1] = 1
    masks = [*sample.masks, Rle.from_bitmap(dot)]
    sample = replace(
        sample,
        masks=masks,
        labels=np.array([0, 1]),
        crowd=np.zeros(2, bool),
        boxes=np.array([mask.box for mask in masks], np.float32),
    )
    small = resize_sample(sample, 5, 5)
    assert small.labels.tolist() == [0]
    assert small.dropped == 1


def test_resize_to_a_fixed_size():
    sample, rng = make_sample(20, 40, 0), np.random.default_rng(0)
    assert ResizeFixed(10, 10)(sample, rng).size == (10, 10)
    assert ResizeFixed(30, 30, keep_ratio=True)(sample, rng).size == (15, 30)
    assert ResizeFixed(20, 40)(sample, rng) is sample


def test_resize_by_the_short_edge():
    sample = make_sample(20, 41, 0)
    sizes = {ResizeShortEdge([10, 30], None)(sample, np.random.default_rng(i)).size for i in range(20)}
    assert sizes == {(10, 21), (30, 62)}
    sizes = {ResizeShortEdge([10, 30], None, "range")(sample, np.random.default_rng(i)).size[0] for i in range(300)}
    assert sizes == set(range(10, 31))
    limited = ResizeShortEdge([800], 100)(sample, np.random.default_rng(0))
    assert limited.size == (49, 100)
    assert limited.scale_factor == (49 / 20, 100 / 41)
    with pytest.raises(UserError, match="mode"):
        ResizeShortEdge([10], mode="some")


@settings(max_examples=40, deadline=None)
@given(samples, st.integers(0, 10**6))
def test_a_whole_pipeline_keeps_everything_together(sample, seed):
    rng = np.random.default_rng(seed)
    for transform in (
        FlipImage(0.5, 0.5),
        ResizeShortEdge([9, 14], 40),
        CropAroundDefect(8, 12, min_area=2),
        FlipImage(0.5, 0.5),
        SemanticFromMasks(),
    ):
        sample = transform(sample, rng)
    assert_consistent(replace(sample, dropped=1), exact_boxes=False)
    union = np.zeros(sample.size, bool)
    for mask in sample.masks:
        union |= mask.to_bitmap().astype(bool)
    np.testing.assert_array_equal(sample.semantic > 0, union)


def test_flips_follow_their_probabilities():
    sample = make_sample(8, 8, 3)
    rng = np.random.default_rng(0)
    assert_same(FlipImage(0, 0)(sample, rng), sample)
    assert_same(FlipImage(1, 1)(sample, rng), flip_vertical(flip_horizontal(sample)))
    flipped = sum(not np.array_equal(FlipImage(0.3)(sample, rng).image, sample.image) for _ in range(500))
    assert 100 < flipped < 200


def test_nothing_changes_the_sample_it_is_given():
    sample = make_sample(16, 16, 2)
    before = make_sample(16, 16, 2)
    rng = np.random.default_rng(0)
    for transform in (
        FlipImage(1, 1),
        ResizeFixed(9, 9),
        CropAroundDefect(8, 8),
        SemanticFromMasks(),
        JitterColor(0.5, 0.5, 0.5, 0.5),
        NormalizeToCHW(),
    ):
        transform(sample, rng)
        assert_same(sample, before)


def test_jitter_is_off_by_default_and_works_when_asked():
    sample, rng = make_sample(16, 16, 2), np.random.default_rng(0)
    np.testing.assert_array_equal(JitterColor()(sample, rng).image, sample.image)
    np.testing.assert_array_equal(JitterColor(0.5, 0.5, 0.5, 0.5, probability=0)(sample, rng).image, sample.image)
    grey = replace(sample, image=np.repeat(sample.image[..., 1:2], 3, axis=2))
    bright = JitterColor(brightness=0.2)(grey, rng).image.astype(int) - grey.image
    inside = (grey.image > 60) & (grey.image < 190)
    assert np.ptp(bright[inside]) <= 1
    assert 0 < abs(bright[inside].mean()) <= 0.2 * 255 + 1
    spread = [JitterColor(contrast=0.5)(grey, rng).image.std() / grey.image.std() for _ in range(50)]
    assert 0.5 <= min(spread) < 0.8
    assert 1.1 < max(spread) <= 1.5
    # Colour has no hold on grey pixels.
    assert np.abs(JitterColor(saturation=0.9)(grey, rng).image.astype(int) - grey.image).max() <= 1
    np.testing.assert_array_equal(JitterColor(hue=0.5)(grey, rng).image, grey.image)
    assert not np.array_equal(JitterColor(hue=0.5)(sample, rng).image, sample.image)
    assert not np.array_equal(JitterColor(saturation=0.9)(sample, rng).image, sample.image)


def test_semantic_from_masks_puts_small_over_large_over_crowd():
    bitmaps = np.zeros((3, 10, 10), np.uint8)
    bitmaps[0, 4:6, 4:6] = 1
    bitmaps[1, 2:8, 2:8] = 1
    bitmaps[2, :, 5:] = 1
    sample = replace(
        make_sample(10, 10, 0, 0),
        masks=[Rle.from_bitmap(b) for b in bitmaps],
        labels=np.array([3, 0, 1]),
        crowd=np.array([False, False, True]),
    )
    expected = np.zeros((10, 10), np.uint8)
    expected[:, 5:] = 255
    expected[2:8, 2:8] = 1
    expected[4:6, 4:6] = 4
    semantic = SemanticFromMasks()(sample, np.random.default_rng(0)).semantic
    assert semantic.dtype == np.uint8
    np.testing.assert_array_equal(semantic, expected)
    empty = SemanticFromMasks()(make_sample(10, 12, 0, 0), np.random.default_rng(0)).semantic
    np.testing.assert_array_equal(empty, np.zeros((10, 12)))


def test_semantic_from_maps(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (10, 12)).astype(np.uint8)
    cv2.imwrite(str(tmp_path / "map.png"), values)
    sample = replace(make_sample(10, 12, 0), semantic_file=str(tmp_path / "map.png"))
    np.testing.assert_array_equal(SemanticFromMap()(sample, np.random.default_rng(0)).semantic, values)
    with pytest.raises(UserError, match=r"map\.png"):
        SemanticFromMap()(replace(make_sample(9, 12, 0), semantic_file=str(tmp_path / "map.png")), None)
    with pytest.raises(UserError, match="semantic_dir"):
        SemanticFromMap()(make_sample(9, 12, 0), None)


def test_normalizing_is_the_textbook_formula():
    sample = make_sample(16, 24, 0)
    result = NormalizeToCHW([0.1, 0.2, 0.3], [0.5, 0.6, 0.7])(sample, np.random.default_rng(0))
    expected = (sample.image / 255 - [0.1, 0.2, 0.3]) / [0.5, 0.6, 0.7]
    assert result.image.dtype == np.float32
    assert result.image.flags.c_contiguous
    assert result.size == (16, 24)
    np.testing.assert_allclose(result.image, expected.transpose(2, 0, 1), atol=1e-6)


def test_reading_checks_the_size(tmp_path):
    path = str(write_jpeg(tmp_path / "a.jpg", 12, 20))
    blank = replace(make_sample(12, 20, 0), image=None, file=path)
    assert blank.size == (12, 20)
    assert ReadImage()(blank, None).image.shape == (12, 20, 3)
    assert ReadImage()(replace(blank, original_size=(0, 0)), None).original_size == (12, 20)
    with pytest.raises(UserError, match=r"a\.jpg.*12x20 pixels, its annotations say 20x12"):
        ReadImage()(replace(blank, original_size=(20, 12)), None)


def test_transforms_are_registered_under_names_of_their_own():
    for name in (*transforms.__all__, "PadToStride"):
        assert name in get_registered_modules()
        assert hasattr(ppdet.data.transform, name)
    with pytest.raises(ValueError, match="RandomFlip"):
        register_transform(type("RandomFlip", (), {}))
