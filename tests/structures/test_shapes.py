"""Parts, holes and boundaries of masks, against counting pixels."""

import cv2
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.structures import Rle
from ppdet_ext.structures.shapes import Shape, shape_of


def counted(bitmap: np.ndarray) -> Shape:
    """The same by OpenCV and by neighbours."""
    around = np.pad(bitmap.astype(np.int8), 1)
    boundary = int(np.abs(np.diff(around, axis=0)).sum() + np.abs(np.diff(around, axis=1)).sum())
    parts = cv2.connectedComponents(bitmap.astype(np.uint8), connectivity=8)[0] - 1
    # Background that reaches the border is one region once a border of it is added.
    holes = cv2.connectedComponents((around == 0).astype(np.uint8), connectivity=4)[0] - 2
    return Shape(parts, holes, boundary)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 2**32 - 1), st.sampled_from([0.2, 0.5, 0.8, 1.0]))
@settings(max_examples=150)
def test_shapes_are_those_of_the_pixels(height: int, width: int, seed: int, share: float) -> None:
    bitmap = np.random.default_rng(seed).random((height, width)) < share
    expected = counted(bitmap) if bitmap.any() else Shape(0, 0, 0)
    assert shape_of(Rle.from_bitmap(bitmap)) == expected


def test_a_mask_that_is_all_of_the_image_has_its_border() -> None:
    assert shape_of(Rle.full(3, 5)) == Shape(1, 0, 16)
    assert shape_of(Rle.empty(3, 5)) == Shape(0, 0, 0)
