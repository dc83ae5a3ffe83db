"""Pictures of probability maps: likely pixels are hot, others show the picture; each class has its panel."""

import numpy as np
import pytest

from ppdet_ext.drawing.maps import GAP, draw_map_panels
from ppdet_ext.structures import Candidates, Detections

NAMES = ["pits", "scratches", "blotches"]


@pytest.fixture
def image() -> np.ndarray:
    return np.full((60, 200, 3), 100, np.uint8)


def candidates(presence: bool = False) -> Candidates:
    maps = np.zeros((3, 60, 200), np.float32)
    maps[0, 30:50, 100:140] = 0.95
    maps[2, 30:40, 20:60] = 0.5
    return Candidates.of_class_maps(maps, np.array([0.9, 0.1, 0.4], np.float32) if presence else None)


def test_a_panel_for_each_class_that_has_a_map(image):
    found = candidates()
    picture = draw_map_panels(image, found, found.detections(0.7), NAMES)
    assert picture.shape == (60 * 2 + GAP, 200, 3)
    first, second = picture[:60], picture[60 + GAP :]
    assert np.all(first[35:45, 160:190] == 100)  # far from everything the picture is as it was
    assert np.abs(first[40, 120].astype(int) - 100).max() > 60
    assert np.all(first[40, 40] == 100)  # the other class's pixels are not in this panel
    changed = np.abs(second[35, 40].astype(int) - 100).max()
    assert 10 < changed < np.abs(first[40, 120].astype(int) - 100).max()
    # Only the first class has a mask, which is outlined in white.
    assert np.all(first[30, 100:140] == 255)
    assert not np.any(np.all(second[28:42, 15:65] == 255, axis=2))


def test_high_pictures_stand_side_by_side_and_presence_is_written(image):
    found = candidates(presence=True)
    turned = np.stack([one.dense().T.repeat(3, axis=1) for one in found.maps])
    found = Candidates.of_class_maps(turned, found.presence)
    tall = np.full((200, 180, 3), 100, np.uint8)
    picture = draw_map_panels(tall, found, Detections.empty(200, 180), NAMES)
    assert picture.shape == (200, 180 * 2 + GAP, 3)
    bare = draw_map_panels(tall, Candidates.of_class_maps(turned), Detections.empty(200, 180), NAMES)
    assert np.any(picture != bare)


def test_nothing_found_is_the_picture(image):
    nothing = Candidates.of_class_maps(np.zeros((3, 60, 200), np.float32))
    assert np.array_equal(draw_map_panels(image[:, :, :1], nothing, nothing.detections(), NAMES), image)
    with pytest.raises(ValueError, match="do not fit"):
        draw_map_panels(image[:50], nothing, nothing.detections(), NAMES)
