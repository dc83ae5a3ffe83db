"""Painting layer over layer: areas, who is hidden by what, and outlines."""

import numpy as np
import pytest

from ppdet_ext.data.synthetic.fashion.canvas import Canvas, coverage
from ppdet_ext.data.synthetic.fashion.shapes import box, ellipse, mirrored, smooth, tube

RED, BLUE = np.array([0.9, 0.1, 0.1]), np.array([0.1, 0.1, 0.9])


@pytest.fixture
def canvas() -> Canvas:
    return Canvas(np.full((60, 80, 3), 0.5, np.float32), 1.0)


def test_coverage_is_the_share_of_each_pixel():
    found = coverage([box(10, 8, 25.5, 34)], 40, 30)
    assert found[8:34, 10:25].min() == 1
    assert found[10:32, 25].mean() == pytest.approx(0.5, abs=0.2)
    assert found.sum() == pytest.approx(15.5 * 26, rel=0.04)
    assert found[:7].max() == found[:, :9].max() == found[36:].max() == 0
    rounded = coverage([ellipse(15, 20, 12, 9)], 40, 30)
    assert rounded.sum() == pytest.approx(np.pi * 108, rel=0.04)


def test_overlapping_outlines_are_united_not_cancelled():
    assert coverage([box(2, 2, 10, 10), box(6, 2, 14, 10)], 20, 20)[4:8, 3:13].min() == 1


def test_what_lies_behind_loses_its_pixels_and_owners_keep_them(canvas):
    coat, pocket, hand = canvas.add(0), canvas.add(1), canvas.add(2)
    canvas.paint([box(10, 10, 40, 40)], RED, [coat])
    canvas.paint([box(20, 20, 30, 30)], BLUE, [coat, pocket])
    assert pocket.mask[22:28, 22:28].all()
    assert (coat.mask & pocket.mask).sum() == pocket.mask.sum() > 80
    canvas.paint([box(25, 5, 60, 50)], RED, [hand])
    assert not (hand.mask & (coat.mask | pocket.mask)).any()
    assert coat.mask.any()
    assert pocket.mask.any()
    canvas.paint([box(0, 0, 80, 60)], BLUE)
    assert not any(item.mask.any() for item in canvas.instances)


def test_paint_shows_where_the_mask_is(canvas):
    before = canvas.image.copy()
    item = canvas.add(0)
    canvas.paint([box(30, 20, 50, 40)], RED, [item], shadow=0, relief=0)
    changed = np.abs(canvas.image - before).sum(2) > 0.59
    assert np.array_equal(changed, item.mask)
    assert canvas.image.min() >= 0
    assert canvas.image.max() <= 1


def test_a_dot_hides_nothing(canvas):
    item = canvas.add(0)
    canvas.paint([box(10, 10, 40, 40)], RED, [item])
    mask = item.mask.copy()
    canvas.dot(25, 25, 3, BLUE)
    assert np.array_equal(mask, item.mask)
    assert canvas.image[25, 25, 2] > 0.8


def test_curves_go_through_their_points():
    points = np.array([(0.0, 0.0), (4.0, 1.0), (5.0, 6.0), (-1.0, 3.0)])
    for closed in (True, False):
        curve = smooth(points, closed)
        gaps = np.linalg.norm(curve[None] - points[:, None], axis=2).min(1)
        assert gaps.max() < 1e-9
    assert np.array_equal(mirrored([(1, 2), (3, 4)]), [(1, 2), (3, 4), (-3, 4), (-1, 2)])


def test_a_tube_is_as_wide_as_asked():
    outline = tube([(10, 5), (10, 25), (10, 45)], [4, 8, 4])
    widths = coverage([outline], 50, 20).sum(1)
    assert widths[25] == pytest.approx(8, abs=0.4)
    assert widths[6] == pytest.approx(4.2, abs=0.5)
