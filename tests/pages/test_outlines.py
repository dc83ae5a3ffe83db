"""Masks as SVG paths."""

import re

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.pages import path_of
from ppdet_ext.structures import Rle


def filled(path: str, height: int, width: int) -> np.ndarray:
    """The pixels whose centres a path covers by the even-odd rule: crossings of a ray to the left are counted."""
    crossings = np.zeros((height, width), np.int64)
    for loop in path.split("z")[:-1]:
        points = [tuple(map(int, re.match(r"M(\d+) (\d+)", loop).groups()))]  # type: ignore[union-attr]
        for step, amount in re.findall(r"([hv])(-?\d+)", loop):
            x, y = points[-1]
            points.append((x + int(amount), y) if step == "h" else (x, y + int(amount)))
        for (x1, y1), (x2, y2) in zip(points, points[1:] + points[:1]):
            if x1 == x2:
                crossings[min(y1, y2) : max(y1, y2), x1:] += 1
    return crossings % 2


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1), st.integers(1, 14), st.integers(1, 14), st.sampled_from([0.2, 0.5, 0.8]))
def test_a_path_covers_exactly_the_masks_pixels(seed: int, height: int, width: int, share: float) -> None:
    bitmap = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    np.testing.assert_array_equal(filled(path_of(Rle.from_bitmap(bitmap)), height, width), bitmap)


def traced(bitmap: np.ndarray, tolerance: float) -> str:
    """The path that OpenCV's contours of a doubled bitmap give (4.12), without the corners that are none."""
    doubled = cv2.copyMakeBorder(np.kron(bitmap, np.ones((2, 2), np.uint8)), 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    text = ""
    for contour in cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[0]:
        points = contour[:, 0].astype(np.int64) // 2
        points = points[(points != np.roll(points, 1, axis=0)).any(axis=1)]
        before, after = points - np.roll(points, 1, axis=0), np.roll(points, -1, axis=0) - points
        loop = points[before[:, 0] * after[:, 1] != before[:, 1] * after[:, 0]]
        if tolerance and len(loop) > 4:
            fewer = cv2.approxPolyDP(loop.astype(np.int32).reshape(-1, 1, 2), tolerance, True).reshape(-1, 2)
            loop = fewer if len(fewer) >= 3 else loop
        steps = [f"h{x}" if y == 0 else f"v{y}" if x == 0 else f"l{x} {y}" for x, y in np.diff(loop, axis=0).tolist()]
        text += f"M{loop[0, 0]} {loop[0, 1]}{''.join(steps)}z"
    return text


@settings(max_examples=150)
@given(
    st.integers(0, 2**32 - 1), st.integers(1, 24), st.integers(1, 24), st.sampled_from([0.3, 0.5, 0.8]),
    st.sampled_from([0.0, 0.7, 1.5]),
)  # fmt: skip
def test_paths_are_those_of_traced_bitmaps_letter_by_letter(
    seed: int, height: int, width: int, share: float, tolerance: float
) -> None:
    bitmap = (np.random.default_rng(seed).random((height, width)) < share).astype(np.uint8)
    assert path_of(Rle.from_bitmap(bitmap), tolerance) == traced(bitmap, tolerance)


def test_a_hole_and_two_parts_lie_where_the_mask_lies() -> None:
    bitmap = np.zeros((40, 60), np.uint8)
    bitmap[10:20, 30:50] = 1
    bitmap[13:16, 35:38] = 0
    bitmap[0, 0] = 1
    path = path_of(Rle.from_bitmap(bitmap))
    np.testing.assert_array_equal(filled(path, 40, 60), bitmap)
    assert path.count("z") == 3
    assert "M0 0" in path
    assert "M30 10" in path


def test_tolerance_shortens_the_text_and_hardly_moves_the_outline() -> None:
    bitmap = np.zeros((200, 200), np.uint8)
    cv2.circle(bitmap, (100, 100), 80, 1, -1)
    mask = Rle.from_bitmap(bitmap)
    exact, short = path_of(mask), path_of(mask, 1.0)
    assert len(short) < len(exact) / 3
    steps = re.findall(r"l(-?\d+) (-?\d+)|h(-?\d+)|v(-?\d+)", short)
    points = np.cumsum([(100, 20), *((int(a or h or 0), int(b or v or 0)) for a, b, h, v in steps)], axis=0)
    assert np.abs(np.hypot(*(points - 100).T) - 80).max() < 2


def test_an_empty_mask_is_no_path() -> None:
    assert path_of(Rle.empty(8, 8)) == ""


@pytest.mark.parametrize("tolerance", [0.5, 3.0])
def test_small_parts_do_not_vanish(tolerance: float) -> None:
    bitmap = np.zeros((10, 10), np.uint8)
    bitmap[4, 5] = 1
    assert path_of(Rle.from_bitmap(bitmap), tolerance) == path_of(Rle.from_bitmap(bitmap))
