"""What tools/pseudo_label.py takes of an image, and the rows it writes of that, by hand."""

import csv

import numpy as np
import pytest

from ppdet_ext.commands.pseudo_label import FASHION, confident, fashion_rows, parse_scores, steel_rows
from ppdet_ext.data.datasets import FashionDataSet
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle

LEFT, RIGHT = Rle.full(4, 2).place(0, 0, 4, 6), Rle.full(4, 3).place(0, 3, 4, 6)


def found(*objects: tuple[float, int, Rle]) -> Detections:
    """Detections in an image of 4 x 6 pixels."""
    scores, labels, masks = zip(*objects)
    boxes = np.array([mask.box if mask else (0, 0, 1, 1) for mask in masks], np.float32)
    return Detections(4, 6, boxes, np.array(scores, np.float32), np.array(labels), list(masks))


THRESHOLDS = np.array([0.8, 0.5])


def test_confident_objects() -> None:
    detections = found((0.8, 0, LEFT), (0.79, 0, RIGHT), (0.6, 1, RIGHT), (0.4, 1, LEFT), (0.9, 1, Rle.empty(4, 6)))
    one = confident("a.jpg", detections, THRESHOLDS, 0, None)
    assert (one.name, one.size, one.labels.tolist(), one.masks, one.doubtful) == ("a.jpg", (4, 6), [0, 1], [LEFT, RIGHT], False)
    assert confident("a.jpg", detections, THRESHOLDS, 9, None).masks == [RIGHT]
    assert confident("a.jpg", detections, THRESHOLDS, 0, 0.7).doubtful
    assert confident("a.jpg", detections, THRESHOLDS, 0, 0.4).doubtful
    # Too small to count, so not doubtful either: 12 pixels score 0.79, and 8 score 0.4.
    assert not confident("a.jpg", detections, THRESHOLDS, 13, 0.4).doubtful
    assert not confident("a.jpg", found((0.4, 1, LEFT)), THRESHOLDS, 0, 0.45).doubtful
    assert not confident("a.jpg", Detections.empty(4, 6), THRESHOLDS, 0, 0.1).masks


def test_the_same_object_twice_is_taken_once() -> None:
    one = confident("a.jpg", found((0.9, 0, LEFT), (0.85, 0, LEFT), (0.84, 1, LEFT)), THRESHOLDS, 0, None)
    assert (one.labels.tolist(), one.masks) == ([0, 1], [LEFT, LEFT])


def test_a_model_without_masks_gives_no_annotations() -> None:
    with pytest.raises(UserError, match=r"a\.jpg: the model predicts no masks"):
        confident("a.jpg", Detections.empty(4, 6, with_masks=False), THRESHOLDS, 0, None)


def test_rows_of_both_formats(tmp_path) -> None:
    some = confident("b.jpg", found((0.9, 1, LEFT), (0.9, 0, LEFT), (0.7, 1, RIGHT)), THRESHOLDS, 0, None)
    none = confident("a.jpg", Detections.empty(4, 6), THRESHOLDS, 0, None)
    assert steel_rows([none, some], [1, 2]) == [("a.jpg", "", ""), ("b.jpg", 1, "1 8"), ("b.jpg", 2, "1 8 13 12")]
    rows = fashion_rows([none, some], [10, 20])
    assert rows == [
        ("a.jpg", "", 4, 6, ""), ("b.jpg", "1 8", 4, 6, 20), ("b.jpg", "1 8", 4, 6, 10), ("b.jpg", "13 12", 4, 6, 20),
    ]  # fmt: skip


def test_fashion_reads_its_rows(tmp_path) -> None:
    some = confident("b.jpg", found((0.9, 1, LEFT), (0.9, 0, LEFT), (0.7, 1, RIGHT)), THRESHOLDS, 0, None)
    none = confident("a.jpg", Detections.empty(4, 6), THRESHOLDS, 0, None)
    with (tmp_path / "pseudo.csv").open("w", newline="") as file:
        csv.writer(file).writerows([FASHION, *fashion_rows([none, some], [0, 1])])
    dataset = FashionDataSet(
        str(tmp_path), "pseudo.csv", split="pseudo.csv", class_names=["coat", "sleeve"], check_images="none", cache=False
    ).load()
    assert [(record.name, record.height, record.width) for record in dataset.records] == [("a.jpg", 4, 6), ("b.jpg", 4, 6)]
    assert dataset.records[1].labels.tolist() == [1, 0, 1]
    assert dataset.records[1].masks == [LEFT, LEFT, RIGHT]


def test_scores_of_the_command_line() -> None:
    assert parse_scores([]) == {}
    assert parse_scores(["0.8"]) == {"default": 0.8}
    assert parse_scores(["pits=0.7", "shirt, blouse=0.5", "a=b=0.4", "0.9"]) == {
        "pits": 0.7, "shirt, blouse": 0.5, "a=b": 0.4, "default": 0.9,
    }  # fmt: skip
