"""Samples whose parts show each other, so that one that moves alone is seen."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from ppdet_ext.data.transforms.sample import Sample
from ppdet_ext.structures import Rle

MARK = 40
CLASSES = 4


def make_sample(height: int, width: int, seed: int, instances: int = 3, semantic: bool = True) -> Sample:
    """A sample whose red channel shows the union of its masks, and whose maps show it again, `class_masks` by class."""
    rng = np.random.default_rng(seed)
    bitmaps = np.zeros((instances, height, width), np.uint8)
    for bitmap in bitmaps:
        for _ in range(int(rng.integers(1, 3))):
            y, x = int(rng.integers(height)), int(rng.integers(width))
            bitmap[y : y + int(rng.integers(1, height + 1)), x : x + int(rng.integers(1, width + 1))] = 1
    union = bitmaps.any(axis=0) if instances else np.zeros((height, width), bool)
    image = rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    image[..., 0] = union * MARK
    sample = Sample(
        image,
        np.zeros((0, 4), np.float32),
        np.zeros(0, np.int64),
        [],
        np.zeros(0, bool),
        union.astype(np.uint8) if semantic else None,
        5,
        "a.jpg",
        "a.jpg",
        None,
        (height, width),
    )
    sample = with_masks(sample, bitmaps, labels=rng.integers(0, CLASSES, instances))
    return replace(sample, class_masks=planes_of(sample))


def planes_of(sample: Sample) -> np.ndarray:
    """(CLASSES, h, w) uint8: where an object of each class is, pixel by pixel."""
    planes = np.zeros((CLASSES, *sample.size), np.uint8)
    for mask, label in zip(sample.masks, sample.labels):
        planes[label] |= mask.to_bitmap()
    return planes


def with_masks(sample: Sample, bitmaps: np.ndarray, **changes) -> Sample:
    """The sample with the instances of `bitmaps` (n, height, width), labelled 0 to n - 1, in place of its own."""
    masks = [Rle.from_bitmap(bitmap) for bitmap in bitmaps]
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    crowd = np.zeros(len(masks), bool)
    return replace(sample, **{"masks": masks, "boxes": boxes, "labels": np.arange(len(masks)), "crowd": crowd, **changes})


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
        np.testing.assert_array_equal(sample.class_masks, planes_of(sample))
        if exact_boxes:
            np.testing.assert_array_equal(sample.image[..., 0], union * MARK)


def assert_same(a: Sample, b: Sample) -> None:
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.semantic, b.semantic)
    np.testing.assert_array_equal(a.class_masks, b.class_masks)
    assert a.masks == b.masks


samples = st.builds(make_sample, st.integers(4, 24), st.integers(4, 40), st.integers(0, 10**6), st.integers(0, 4))
