"""Records and detections as a `LabelSet`: crowds, boxes alone, and names that lead nowhere else."""

import numpy as np
import pytest

from ppdet_ext.data.labels.convert import labels_of_detections, labels_of_records, place_of
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Record, Rle


def test_records_keep_masks_boxes_crowds_and_files() -> None:
    masks = [Rle.full(4, 6), Rle.from_bitmap(np.eye(4, 6))]
    boxes = np.array([[0, 0, 6, 4], [0, 0, 4, 4]], np.float32)
    record = Record(7, "/data/a/b.jpg", "a/b.jpg", 4, 6, boxes, np.array([1, 0]), masks, np.array([False, True]))
    alone = Record(8, "/data/c.jpg", "c.jpg", 4, 6, boxes[:1], np.array([0]), [], np.array([False]))
    labels = labels_of_records([record, alone], ["pit", "scratch"])
    image, empty = labels.images
    assert (image.name, image.file, image.height, image.width) == ("a/b.jpg", "/data/a/b.jpg", 4, 6)
    assert [(own.class_name, own.mask, own.box, own.crowd, own.score) for own in image.objects] == [
        ("scratch", masks[0], (0, 0, 6, 4), False, None), ("pit", masks[1], (0, 0, 4, 4), True, None),
    ]  # fmt: skip
    assert empty.objects == []
    assert labels.skipped == {"boxes without a mask": 1}


def test_detections_keep_scores_from_the_lowest_on() -> None:
    found = Detections.of_masks(2, 2, [Rle.full(2, 2), Rle.from_bitmap(np.eye(2))], [0, 0], [0.9, 0.4])
    boxes = Detections(2, 2, np.zeros((1, 4), np.float32), np.ones(1, np.float32), np.zeros(1, np.int64))
    labels = labels_of_detections([("a.jpg", found), ("b.jpg", boxes)], ["pit"], 0.5, {"a.jpg": "/x/a.jpg"})
    assert [[own.score for own in image.objects] for image in labels.images] == [[0.9], []]
    assert [image.file for image in labels.images] == ["/x/a.jpg", None]
    assert labels.skipped == {"boxes without a mask": 1}


@pytest.mark.parametrize(("name", "place"), [
    ("a.jpg", "a.jpg"), ("a/b.jpg", "a/b.jpg"), ("/etc/passwd", "passwd"), ("../../x.jpg", "x.jpg"), ("a/../../b.jpg", "b.jpg"),
])  # fmt: skip
def test_files_stay_in_their_folder_whatever_images_are_called(name: str, place: str) -> None:
    assert place_of(name) == place


def test_what_could_not_be_told_apart_is_an_error() -> None:
    empty = Detections.empty(2, 2)
    with pytest.raises(UserError, match=r"Two images are called a\.jpg"):
        labels_of_detections([("a.jpg", empty), ("/x/a.jpg", empty)], ["pit"])
    with pytest.raises(UserError, match="Two classes are called 'pit'"):
        labels_of_detections([("a.jpg", empty)], ["pit", "pit"])
