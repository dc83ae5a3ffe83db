"""Detections: selection, COCO results, refused inputs."""

import numpy as np
import pytest

from ppdet_ext.structures import Detections, Rle


def three(with_masks: bool = True) -> Detections:
    boxes = np.array([[0, 0, 4, 2], [1, 1, 3, 3], [2, 0, 5, 4]], np.float32)
    masks = [Rle.from_kaggle(f"{start} 2", 4, 5) for start in (1, 6, 11)]
    return Detections(4, 5, boxes, np.array([0.9, 0.5, 0.25], np.float32), np.array([1, 0, 1]), masks if with_masks else None)


@pytest.mark.parametrize("index", [np.array([True, False, True]), np.array([0, 2]), slice(0, 3, 2), [0, 2]])
def test_select(index: np.ndarray) -> None:
    chosen = three().select(index)
    assert len(chosen) == 2
    assert chosen.scores.tolist() == [np.float32(0.9), 0.25]
    assert chosen.boxes[1].tolist() == [2, 0, 5, 4]
    assert chosen.masks == [three().masks[0], three().masks[2]]
    assert three(with_masks=False).select(index).masks is None


def test_select_keeps_the_order_asked_for() -> None:
    assert three().select(np.array([2, 0])).labels.tolist() == [1, 1]
    assert three().select(np.argsort(three().scores)).scores.tolist() == [0.25, 0.5, np.float32(0.9)]
    assert len(three().select(np.zeros(3, bool))) == 0


def test_coco_results_use_the_data_sets_ids() -> None:
    boxes, segments = three().to_coco_results(42, category_ids=[7, 90])
    assert boxes[2] == {"image_id": 42, "category_id": 90, "bbox": [2, 0, 3, 4], "score": 0.25}
    assert segments[1] == {
        "image_id": 42,
        "category_id": 7,
        "score": 0.5,
        "segmentation": {"size": [4, 5], "counts": three().masks[1].counts},
    }
    assert three(with_masks=False).to_coco_results(1, [7, 90])[1] == []


def test_unknown_label() -> None:
    with pytest.raises(IndexError):
        three().to_coco_results(1, [7])


@pytest.mark.parametrize("with_masks", [True, False])
def test_empty(with_masks: bool) -> None:
    nothing = Detections.empty(4, 5, with_masks)
    assert len(nothing) == 0
    assert nothing.masks == ([] if with_masks else None)
    assert nothing.to_coco_results(1, []) == ([], [])
    assert len(nothing.select(np.zeros(0, bool))) == 0


@pytest.mark.parametrize(
    "change",
    [
        {"boxes": np.zeros((2, 4), np.float32)},
        {"boxes": np.zeros((3, 5), np.float32)},
        {"labels": np.zeros(2, int)},
        {"masks": [Rle.full(4, 5)] * 2},
        {"masks": [Rle.full(4, 5)] * 2 + [Rle.full(5, 4)]},
    ],
)
def test_parts_that_disagree_are_refused(change: dict) -> None:
    good = three()
    fields = {name: getattr(good, name) for name in ("boxes", "scores", "labels", "masks")} | change
    with pytest.raises(ValueError):
        Detections(4, 5, **fields)


def test_attributes_stay_with_their_objects():
    masks = [Rle.full(4, 5), Rle.empty(4, 5), Rle.full(4, 5)]
    own = Detections.of_masks(4, 5, masks, [0, 1, 2], [0.3, 0.9, 0.5], [(1,), (), (2, 3)])
    assert own.boxes.tolist() == [[0, 0, 5, 4], [0, 0, 0, 0], [0, 0, 5, 4]]
    best = own.select(np.argsort(-own.scores))
    assert (best.labels.tolist(), best.attributes) == ([1, 2, 0], [(), (2, 3), (1,)])
    assert best.select(best.scores > 0.4).attributes == [(), (2, 3)]
    with pytest.raises(ValueError, match="attributes of 1 objects for 3 boxes"):
        Detections.of_masks(4, 5, masks, [0, 1, 2], [0.3, 0.9, 0.5], [(1,)])
