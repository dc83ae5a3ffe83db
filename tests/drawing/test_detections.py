"""Pictures of detections: what must be painted is, what must not is not, and odd input is survived."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.drawing import detections as draw
from ppdet_ext.drawing.detections import as_rgb, colour_of, draw_detections, draw_ground_truth
from ppdet_ext.structures import Detections, Record, Rle

NAMES = ["pits", "scratch", "blotch", "patch"]


def rectangle(height: int, width: int, y1: int, x1: int, y2: int, x2: int) -> Rle:
    bitmap = np.zeros((height, width), np.uint8)
    bitmap[y1:y2, x1:x2] = 1
    return Rle.from_bitmap(bitmap)


def detections(masks: list[Rle], scores: list[float], labels: list[int], with_masks: bool = True) -> Detections:
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4)
    height, width = masks[0].size
    given_masks = masks if with_masks else None
    return Detections(height, width, boxes, np.array(scores, np.float32), np.array(labels, np.int64), given_masks)


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(60, 120, (100, 200, 3), dtype=np.uint8)


def test_pixels_inside_take_the_colour_and_those_far_outside_stay(image):
    mask = rectangle(100, 200, 40, 100, 80, 160)
    before = image.copy()
    picture = draw_detections(image, detections([mask], [0.9], [1]), NAMES)
    assert np.array_equal(image, before), "the caller's image is left alone"
    assert picture.shape == (100, 200, 3)
    assert picture.dtype == np.uint8
    core = picture[45:75, 105:155].astype(float)
    expected = image[45:75, 105:155] * 0.6 + np.array(colour_of(1)) * 0.4
    assert np.abs(core - expected).max() <= 1
    assert np.array_equal(picture[:, :90], image[:, :90])
    assert np.array_equal(picture[82:], image[82:])


def test_holes_stay_open_and_are_outlined(image):
    bitmap = rectangle(100, 200, 30, 50, 90, 110).to_bitmap()
    bitmap[50:70, 70:90] = 0
    picture = draw_detections(image, detections([Rle.from_bitmap(bitmap)], [0.9], [0]), NAMES, boxes=False)
    assert np.array_equal(picture[52:68, 72:88], image[52:68, 72:88])
    assert (picture[60, [69, 90]] == colour_of(0)).all()


@pytest.mark.parametrize("colour", [0, 1, 2, 3])
def test_a_line_is_seen_on_a_background_of_its_own_colour(colour):
    image = np.full((100, 200, 3), colour_of(colour), np.uint8)
    bitmap = rectangle(100, 200, 30, 50, 90, 110).to_bitmap()
    bitmap[50:70, 70:90] = 0
    for masks in (True, False):
        found = detections([Rle.from_bitmap(bitmap)], [0.9], [colour], masks)
        picture = draw_detections(image, found, NAMES, boxes=not masks)
        rim = [(60, 49), (60, 110), (90, 80), (90, 49), *([(60, 70), (60, 89), (50, 80)] if masks else [])]
        assert (picture[tuple(np.transpose(rim))] == np.array(colour_of(colour)) // 3).all()
        assert (picture[[60, 60, 89], [50, 109, 80]] == colour_of(colour)).all()


@given(st.integers(0, 2**32 - 1), st.integers(1, 9), st.integers(1, 9))
def test_outlines_stay_where_they_belong(seed, height, width):
    """On the mask's pixels that touch another one by a side; the rim on those around; nothing else changes."""
    rng = np.random.default_rng(seed)
    bitmap = (rng.random((height, width)) < 0.6).astype(np.uint8)
    image = rng.integers(3, 256, (height, width, 3), dtype=np.uint8)
    picture = image.copy()
    draw.draw_outline(picture, Rle.from_bitmap(bitmap), (1, 2, 0))
    wide = np.pad(bitmap, 1)
    around = [wide[1 + y : 1 + y + height, 1 + x : 1 + x + width] for y in (-1, 0, 1) for x in (-1, 0, 1)]
    rim = (np.max(around, axis=0) == 1) & (bitmap == 0)
    line = (picture == (1, 2, 0)).all(2)
    assert not line[bitmap == 0].any()
    assert line[(bitmap == 1) & (np.min([around[i] for i in (1, 3, 5, 7)], axis=0) == 0)].all()
    assert np.array_equal(picture[rim], image[rim] // 3)
    assert np.array_equal(picture[~rim & ~line], image[~rim & ~line])


def test_only_scores_at_or_above_the_threshold(image):
    two = detections([rectangle(100, 200, 50, 10, 90, 60), rectangle(100, 200, 50, 120, 90, 170)], [0.5, 0.49], [0, 0])
    picture = draw_detections(image, two, NAMES, threshold=0.5)
    assert not np.array_equal(picture[:, :100], image[:, :100])
    assert np.array_equal(picture[:, 100:], image[:, 100:])


def test_the_best_is_on_top_whatever_the_order(image):
    mask = rectangle(100, 200, 30, 50, 90, 150)
    for scores, top in (([0.9, 0.6], 0), ([0.6, 0.9], 1)):
        picture = draw_detections(image, detections([mask, mask], scores, [0, 1]), NAMES)
        assert tuple(picture[89, 60]) == colour_of(top)


def test_boxes_without_masks(image):
    found = detections([rectangle(100, 200, 40, 100, 80, 160)], [0.9], [2], with_masks=False)
    picture = draw_detections(image, found, NAMES)
    assert np.array_equal(picture[45:75, 105:155], image[45:75, 105:155])
    corners = picture[[40, 40, 79, 79], [100, 159, 100, 159]]
    assert (corners[2:] == colour_of(2)).all()
    assert np.array_equal(draw_detections(image, Detections.empty(100, 200), NAMES), image)
    assert np.array_equal(draw_detections(image, Detections.empty(100, 200, False), NAMES), image)


@pytest.mark.parametrize("shape", [(100, 200), (100, 200, 1)])
def test_grey_images_become_rgb(shape):
    grey = np.full(shape, 90, np.uint8)
    picture = draw_detections(grey, detections([rectangle(100, 200, 40, 100, 80, 160)], [0.9], [3]), NAMES)
    assert picture.shape == (100, 200, 3)
    assert (picture[5, 5] == 90).all()


@pytest.mark.parametrize("wrong", [np.zeros((4, 4, 3)), np.zeros((4, 4, 2), np.uint8), np.zeros(4, np.uint8)])
def test_what_is_no_image_is_refused(wrong):
    with pytest.raises(ValueError, match="an image is"):
        as_rgb(wrong)


def test_a_mask_of_another_size_is_refused(image):
    with pytest.raises(ValueError, match="does not fit"):
        draw_detections(image, detections([rectangle(50, 50, 4, 4, 20, 20)], [0.9], [0]), NAMES)


def plate(image: np.ndarray, picture: np.ndarray) -> tuple[int, int, int, int]:
    """Rows and columns (first, last) that drawing has changed."""
    changed = (picture != image).any(2)
    ys, xs = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
    return int(ys[0]), int(ys[-1]), int(xs[0]), int(xs[-1])


@pytest.mark.parametrize("place", ["left", "right", "top", "bottom"])
def test_labels_stay_inside_the_image_and_are_legible(place):
    image = np.full((256, 400, 3), 90, np.uint8)
    y, x = {"left": (100, 0), "right": (100, 396), "top": (0, 200), "bottom": (252, 200)}[place]
    found = detections([rectangle(256, 400, y, x, y + 4, x + 4)], [0.88], [1], with_masks=False)
    picture = draw_detections(image, found, NAMES, boxes=False)
    top, bottom, left, right = plate(image, picture)
    assert bottom - top >= 9
    assert right - left >= 60, "the whole text, not a part of it"
    ink = np.abs(picture[top : bottom + 1, left : right + 1].astype(int) - colour_of(1)).sum(2)
    assert (ink > 250).mean() > 0.1, "letters stand out from their plate"


@pytest.mark.parametrize("name", ["царапина", "斑点", "فقاعات", "", "two\nlines", "🔩", "x" * 300])
def test_any_class_name_is_drawn(image, name):
    found = detections([rectangle(100, 200, 40, 100, 80, 160)], [0.9], [0])
    assert draw_detections(image, found, [name]).shape == image.shape


def test_labels_without_a_name_are_numbers(image, monkeypatch):
    seen = []
    monkeypatch.setattr(draw, "write_labels", lambda canvas, boxes, labels, texts: seen.extend(texts) or canvas)
    mask = rectangle(100, 200, 40, 100, 80, 160)
    draw_detections(image, detections([mask, mask], [0.75, 0.9], [1, 17]), NAMES)
    assert seen == ["scratch 0.75", "17 0.90"]


box_edge = st.one_of(st.floats(-50, 250), st.sampled_from([np.nan, np.inf, -np.inf]))


@settings(max_examples=40)
@given(st.lists(st.tuples(box_edge, box_edge, box_edge, box_edge), max_size=4), st.integers(1, 60), st.integers(1, 60))
def test_any_box_on_any_image_is_survived(boxes, height, width):
    count = len(boxes)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    found = Detections(height, width, array, np.full(count, 0.9, np.float32), np.arange(count, dtype=np.int64))
    assert draw_detections(np.zeros((height, width, 3), np.uint8), found, NAMES).shape == (height, width, 3)


def test_empty_mask_is_skipped(image):
    found = detections([Rle.empty(100, 200)], [0.9], [0])
    assert np.array_equal(draw_detections(image, found, NAMES, boxes=False)[50:], image[50:])


def test_neighbouring_classes_differ_in_colour():
    colours = [colour_of(label) for label in range(80)]
    assert len(set(colours)) == 80
    assert colour_of(len(draw.PALETTE)) == colour_of(0)


@dataclass
class Like:
    """The fields of a Record that drawing reads."""

    boxes: np.ndarray
    labels: np.ndarray
    masks: list[Rle]
    crowd: np.ndarray = field(default_factory=lambda: np.zeros(0, bool))


def test_ground_truth_marks_crowds(image, monkeypatch):
    seen = []
    monkeypatch.setattr(draw, "write_labels", lambda canvas, boxes, labels, texts: seen.extend(texts) or canvas)
    masks = [rectangle(100, 200, 40, 100, 80, 160), rectangle(100, 200, 10, 10, 30, 30)]
    boxes = np.array([mask.box for mask in masks], np.float32)
    truth = Like(boxes, np.array([3, 0]), masks, np.array([False, True]))
    picture = draw_ground_truth(image, truth, NAMES)
    assert seen == ["patch", "pits (crowd)"]
    assert not np.array_equal(picture[50:70, 110:150], image[50:70, 110:150])


def test_ground_truth_of_a_clean_record_is_the_image(image):
    record = Record(im_id=0, file="a.jpg", name="a.jpg", height=100, width=200)
    assert np.array_equal(draw_ground_truth(image, record, NAMES), image)
