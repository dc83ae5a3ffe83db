"""Each step on cases worked out by hand, and against plain loops on random ones."""

import numpy as np
import pytest
from postprocess_cases import SIZE, candidates, columns, content, detections, masked, step_of

from ppdet_ext.structures import Detections, Rle

RNG_SEEDS = range(30)


def iou_of(a: np.ndarray, b: np.ndarray) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(w, 0) * max(h, 0)
    return shared / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - shared)


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_box_nms_is_greedy_in_each_class(seed: int) -> None:
    found = candidates(np.random.default_rng(seed))
    limits = {0: 0.2, 1: 0.6, 2: 0.4}
    kept: list[int] = []
    for i in range(len(found)):  # they come by falling score
        rivals = [j for j in kept if found.labels[j] == found.labels[i]]
        if all(iou_of(found.boxes[i], found.boxes[j]) <= limits[found.labels[i]] for j in rivals):
            kept.append(i)
    result = step_of("BoxNMS", iou={"default": 0.2, "shoe": 0.6, 12: 0.4})(found, "a.jpg")
    assert content(result) == content(found.select(np.array(kept)))


@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_mask_nms_is_greedy_in_each_class(seed: int) -> None:
    found = detections(np.random.default_rng(seed))
    kept: list[int] = []
    for i in range(len(found)):
        rivals = [j for j in kept if found.labels[j] == found.labels[i]]
        if all(found.masks[i].iou(found.masks[j]) <= 0.15 for j in rivals):
            kept.append(i)
    assert content(step_of("MaskNMS", iou=0.15)(found, "a.jpg")) == content(found.select(np.array(kept)))


def test_score_threshold_keeps_what_is_at_least_as_high() -> None:
    found = masked([columns(0, 4)] * 4, [0, 0, 1, 2], [0.5, 0.25, 0.25, 0.1])
    result = step_of("ScoreThreshold", score={"shirt": 0.5, "default": 0.3, "shoe": 0.25})(found, "a.jpg")
    assert result.scores.tolist() == [0.5, 0.25]
    assert result.labels.tolist() == [0, 1]
    assert len(step_of("ScoreThreshold", score={"shirt": 0.6})(found, "a.jpg")) == 2  # bags and shoes are not named
    found = masked([columns(0, 4)], [0], [np.float32(0.7)])
    assert len(step_of("ScoreThreshold", score=0.7)(found, "a.jpg")) == int(np.float64(np.float32(0.7)) >= 0.7)


@pytest.mark.parametrize("seed", range(3))
def test_mask_threshold_cuts_each_class_at_its_own(seed: int) -> None:
    found = candidates(np.random.default_rng(seed))
    result = step_of("MaskThreshold", threshold=[0.3, 0.6, 0.8])(found, "a.jpg")
    assert isinstance(result, Detections)
    for label, threshold in enumerate([0.3, 0.6, 0.8]):
        whole = found.detections(threshold)
        assert all(result.masks[i] == whole.masks[i] for i in np.flatnonzero(found.labels == label))


def test_min_area_counts_pixels_of_the_mask() -> None:
    found = masked([columns(0, 2), columns(0, 3), columns(0, 1)], [0, 0, 1], [0.9, 0.8, 0.7])
    result = step_of("MinArea", area={"shirt": 3 * SIZE[0]})(found, "a.jpg")
    assert [mask.area for mask in result.masks] == [3 * SIZE[0], SIZE[0]]
    empty = masked([Rle.empty(*SIZE)], [0], [0.9])
    assert len(step_of("MinArea")(empty, "a.jpg")) == 0


def test_fill_holes_fills_them_and_leaves_boxes() -> None:
    bitmap = np.zeros(SIZE, bool)
    bitmap[2:10, 2:10] = True
    bitmap[4:6, 4:6] = False
    found = masked([Rle.from_bitmap(bitmap)], [0], [0.9])
    result = step_of("FillHoles")(found, "a.jpg")
    assert result.masks[0] == Rle.full(8, 8).place(2, 2, *SIZE)
    assert result.boxes.tolist() == found.boxes.tolist()


def test_remove_small_components() -> None:
    bitmap = np.zeros(SIZE, bool)
    bitmap[1:4, 1:4] = bitmap[4:6, 4] = True  # 9 + 2 px that touch at a corner
    bitmap[20, 20] = bitmap[10:12, 20:22] = True
    mask = Rle.from_bitmap(bitmap)
    found = masked([mask, mask, columns(0, 1)], [0, 1, 0], [0.9, 0.8, 0.7])
    result = step_of("RemoveSmallComponents", area={"shirt": 4, "shoe": 12, "bag": 0})(found, "a.jpg")
    assert [one.area for one in result.masks] == [15, SIZE[0]]  # of the shoe nothing is left
    assert result.labels.tolist() == [0, 0]
    assert result.boxes[0].tolist() == [1, 1, 22, 12]
    assert result.boxes[1].tolist() == found.boxes[2].tolist()  # unchanged masks keep the model's box


def test_suppress_overlaps_takes_pixels_from_worse_masks() -> None:
    found = masked([columns(0, 10), columns(5, 15), columns(12, 20), columns(6, 9)], [0, 0, 1, 0], [0.5, 0.9, 0.8, 0.7])
    result = step_of("SuppressOverlaps")(found, "a.jpg")
    assert result.masks == [columns(0, 5), columns(5, 15), columns(12, 20)]
    assert result.scores.tolist() == pytest.approx([0.5, 0.9, 0.8])
    assert result.boxes[0].tolist() == [0, 0, 5, SIZE[0]]
    assert result.boxes[1:].tolist() == found.boxes[1:3].tolist()
    across = step_of("SuppressOverlaps", same_class=False)(found, "a.jpg")
    assert across.masks == [columns(0, 5), columns(5, 15), columns(15, 20)]


@pytest.mark.parametrize("same_class", [True, False])
@pytest.mark.parametrize("seed", RNG_SEEDS)
def test_suppress_overlaps_is_the_winners_loop(seed: int, same_class: bool) -> None:
    found = detections(np.random.default_rng(seed))
    bitmaps = [mask.to_bitmap().astype(bool) for mask in found.masks]
    expected: list[np.ndarray] = []
    for i in range(len(found)):
        own = bitmaps[i].copy()
        for j in range(i):
            if found.labels[j] == found.labels[i] or not same_class:
                own &= ~expected[j]
        expected.append(own)
    result = step_of("SuppressOverlaps", same_class=same_class)(found, "a.jpg")
    kept = [i for i, own in enumerate(expected) if own.any() or not bitmaps[i].any()]
    assert result.masks == [Rle.from_bitmap(expected[i]) for i in kept]
    assert result.scores.tolist() == found.scores[kept].tolist()
    for label in range(3):
        own = [mask.to_bitmap() for mask, one in zip(result.masks, result.labels) if one == label or not same_class]
        assert not own or np.sum(own, axis=0).max() <= 1


def test_drop_classes_by_name_and_by_id() -> None:
    found = masked([columns(0, 4)] * 4, [0, 1, 2, 1], [0.9, 0.8, 0.7, 0.6])
    assert step_of("DropClasses", classes=["shirt", 12])(found, "a.jpg").labels.tolist() == [1, 1]
    assert step_of("DropClasses", classes=[])(found, "a.jpg").labels.tolist() == [0, 1, 2, 1]


def test_top_k_of_the_image_or_of_each_class() -> None:
    found = masked([columns(0, 4)] * 5, [0, 1, 0, 0, 1], [0.2, 0.9, 0.8, 0.8, 0.1])
    assert step_of("TopK", k=2)(found, "a.jpg").scores.tolist() == pytest.approx([0.9, 0.8])
    each = step_of("TopK", k=1, per_class=True)(found, "a.jpg")
    assert each.labels.tolist() == [1, 0]
    assert each.scores.tolist() == pytest.approx([0.9, 0.8])
    assert len(step_of("TopK", k=9)(found, "a.jpg")) == 5


def test_what_mask_nms_drops_suppresses_nothing() -> None:
    # Neighbours have IoU 8 / 12, the first and the third 6 / 14.
    found = masked([columns(0, 10), columns(2, 12), columns(4, 14)], [0, 0, 0], [0.9, 0.8, 0.7])
    assert step_of("MaskNMS", iou=0.5)(found, "a.jpg").masks == [columns(0, 10), columns(4, 14)]


def test_masks_that_were_empty_before_are_left_to_min_area() -> None:
    found = masked([columns(0, 10), Rle.empty(*SIZE), columns(2, 4)], [0, 0, 0], [0.9, 0.8, 0.7])
    assert step_of("SuppressOverlaps")(found, "a.jpg").masks == [columns(0, 10), Rle.empty(*SIZE)]


def test_ties_in_score_favour_the_earlier_one() -> None:
    found = masked([columns(x % 30, x % 30 + 2) for x in range(60)], [0] * 60, [0.5, 0.75] * 30)
    assert step_of("TopK", k=20)(found, "a.jpg").masks == [found.masks[i] for i in range(1, 41, 2)]
