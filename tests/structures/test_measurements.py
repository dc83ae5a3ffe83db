"""Measurements of masks: properties of area, centroid, length, width and angle, and the rows of detections."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle
from ppdet_ext.structures.measurements import measure, measurement_columns, measurement_rows

SIDES = st.integers(1, 12)
BITMAPS = st.tuples(SIDES, SIDES).flatmap(lambda size: arrays(bool, size)).filter(lambda bitmap: bitmap.any())


@given(BITMAPS)
@settings(max_examples=100)
def test_area_and_centroid_are_those_of_the_pixels(bitmap: np.ndarray) -> None:
    found = measure(Rle.from_bitmap(bitmap))
    ys, xs = np.nonzero(bitmap)
    assert found.area == len(ys)
    assert (found.centroid_x, found.centroid_y) == pytest.approx((xs.mean() + 0.5, ys.mean() + 0.5))


@given(BITMAPS, st.integers(0, 9), st.integers(0, 9))
@settings(max_examples=60)
def test_moving_a_mask_moves_its_centroid_alone(bitmap: np.ndarray, dy: int, dx: int) -> None:
    mask = Rle.from_bitmap(bitmap)
    here, there = measure(mask), measure(mask.place(dy, dx, mask.height + 9, mask.width + 9))
    assert there == pytest.approx(here._replace(centroid_x=here.centroid_x + dx, centroid_y=here.centroid_y + dy))


@given(BITMAPS)
@settings(max_examples=100)
def test_a_quarter_turn_keeps_length_and_width(bitmap: np.ndarray) -> None:
    here, there = measure(Rle.from_bitmap(bitmap)), measure(Rle.from_bitmap(np.rot90(bitmap)))
    assert (there.length, there.width) == pytest.approx((here.length, here.width))
    assert (there.centroid_x, there.centroid_y) == pytest.approx((here.centroid_y, bitmap.shape[1] - here.centroid_x))
    assert -90 < here.angle <= 90
    assert here.length >= here.width > 0


@given(BITMAPS)
@settings(max_examples=100)
def test_the_rectangle_is_as_small_as_opencvs_around_all_pixel_corners(bitmap: np.ndarray) -> None:
    ys, xs = np.nonzero(bitmap)
    corners = np.concatenate([np.stack([xs + dx, ys + dy], axis=1) for dx in (0, 1) for dy in (0, 1)])
    found = measure(Rle.from_bitmap(bitmap))
    assert found.length * found.width == pytest.approx(math.prod(cv2.minAreaRect(corners.astype(np.float32))[1]), rel=1e-4)


@pytest.mark.parametrize(
    ("bitmap", "expected"),
    [
        (np.ones((1, 7)), (7, 3.5, 0.5, 7, 1, 0)),
        (np.ones((7, 1)), (7, 0.5, 3.5, 7, 1, 90)),
        (np.ones((1, 1)), (1, 0.5, 0.5, 1, 1, 0)),
        (np.ones((4, 6)), (24, 3, 2, 6, 4, 0)),
        # A diagonal of n pixels is a strip of √2 times (n, 1); with y downwards it falls to the right.
        (np.eye(5), (5, 2.5, 2.5, 5 * 2**0.5, 2**0.5, 45)),
        (np.eye(5)[::-1], (5, 2.5, 2.5, 5 * 2**0.5, 2**0.5, -45)),
    ],
)
def test_shapes_that_one_can_measure_by_hand(bitmap: np.ndarray, expected: tuple[float, ...]) -> None:
    assert measure(Rle.from_bitmap(bitmap)) == pytest.approx(expected)


def test_an_empty_mask_has_area_0_and_nothing_else() -> None:
    area, *rest = measure(Rle.empty(3, 4))
    assert area == 0
    assert all(map(math.isnan, rest))


def test_rows_have_a_box_and_the_masks_measures() -> None:
    masks = [Rle.full(2, 6), Rle.from_bitmap(np.eye(2, 6))]
    found = Detections.of_masks(2, 6, masks, [1, 0], [0.9, 0.5])
    first, second = measurement_rows(found, ["pit", "scratch"], mm_per_pixel=0.5)
    assert list(first) == list(second) == measurement_columns(0.5)
    expected = {"class": "scratch", "score": 0.9, "x": 0, "y": 0, "w": 6, "h": 2, "area_px": 12, "area_mm2": 3.0}
    assert first == expected | {
        "centroid_x": 3, "centroid_y": 1, "length_px": 6, "width_px": 2, "length_mm": 3, "width_mm": 1, "angle": 0,
    }  # fmt: skip
    assert (second["class"], second["area_px"]) == ("pit", 2)


def test_without_masks_the_row_has_a_box_alone_and_without_a_scale_no_millimetres() -> None:
    found = Detections(4, 4, np.array([[1, 1, 3, 4]], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    (row,) = measurement_rows(found, ["pit"])
    assert list(row) == measurement_columns()
    assert not [key for key in row if "mm" in key]
    assert (row["w"], row["h"], row["area_px"], row["length_px"]) == (2, 3, None, None)


@pytest.mark.parametrize("scale", [0.0, -1.0, math.nan, math.inf])
def test_a_scale_is_a_number_above_0(scale: float) -> None:
    with pytest.raises(UserError, match="mm_per_pixel is the side of a pixel"):
        measurement_rows(Detections.empty(2, 2), [], scale)
