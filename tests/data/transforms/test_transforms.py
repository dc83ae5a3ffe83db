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
from transform_samples import assert_consistent, assert_same, make_sample, samples, with_masks

from ppdet_ext.data import transforms
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
from ppdet_ext.data.transforms.flip import flip_horizontal, flip_vertical
from ppdet_ext.data.transforms.resize import resize_sample
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_transform


@settings(max_examples=60)
@given(samples)
def test_flips_are_exact_and_twice_is_the_identity(sample):
    for flip in (flip_horizontal, flip_vertical):
        assert_consistent(flip(sample))
        assert_same(flip(flip(sample)), sample)
    assert_same(flip_vertical(flip_horizontal(sample)), flip_horizontal(flip_vertical(sample)))


@settings(max_examples=60)
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


@settings(max_examples=30)
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
    bitmaps = np.zeros((2, 20, 20), np.uint8)
    bitmaps[0, 4:12, 4:12] = 1
    bitmaps[1, 1, 1] = 1
    small = resize_sample(with_masks(make_sample(20, 20, 0), bitmaps), 5, 5)
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


@settings(max_examples=40)
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
    bitmaps[2, 3:7, 5:] = 1
    labels, crowd = np.array([3, 0, 1]), np.array([False, False, True])
    sample = with_masks(make_sample(10, 10, 0), bitmaps, labels=labels, crowd=crowd)
    expected = np.zeros((10, 10), np.uint8)
    expected[3:7, 5:] = 255
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


def test_one_mean_is_that_of_grey_pictures() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    sample = replace(make_sample(16, 16, 0), image=np.repeat(levels[..., None], 3, axis=2))
    image = NormalizeToCHW([0.3439], [0.0383])(sample, np.random.default_rng(0)).image
    assert (image.shape, image.dtype) == ((1, 16, 16), np.float32)
    np.testing.assert_allclose(image[0], (levels / 255 - 0.3439) / 0.0383, atol=1e-5)
    for mean, std in (([0.5], [0.2, 0.2, 0.2]), ([0.5, 0.5], [0.2, 0.2]), ([0.5], None)):
        with pytest.raises(UserError, match="three numbers each, or one"):
            NormalizeToCHW(mean, std)
    with pytest.raises(UserError, match=r"NormalizeToCHW\.std: \[0\.2, 0, 0\.2\] is not above 0"):
        NormalizeToCHW(std=[0.2, 0, 0.2])


def test_reading_checks_the_size(tmp_path):
    path = str(write_jpeg(tmp_path / "a.jpg", 12, 20))
    blank = replace(make_sample(12, 20, 0), image=None, file=path)
    assert blank.size == (12, 20)
    assert ReadImage()(blank, None).image.shape == (12, 20, 3)
    assert ReadImage()(replace(blank, original_size=(0, 0)), None).original_size == (12, 20)
    with pytest.raises(UserError, match=r"a\.jpg.*12x20 pixels, its annotations say 20x12"):
        ReadImage()(replace(blank, original_size=(20, 12)), None)


def test_each_transform_has_a_row_on_its_page(root):
    rows = [line for line in (root / "docs" / "transforms.md").read_text().splitlines() if line.startswith("| `")]
    assert [name for name in transforms.__all__ if not any(f"`{name}`" in row.split("|")[1] for row in rows)] == []


def test_transforms_are_registered_under_names_of_their_own():
    for name in (*transforms.__all__, "PadToStride"):
        assert name in get_registered_modules()
        assert hasattr(ppdet.data.transform, name)
    with pytest.raises(ValueError, match="RandomFlip"):
        register_transform(type("RandomFlip", (), {}))
