"""What tools/pseudo_label.py takes of an image, and the rows it writes of that, by hand."""

import csv

import numpy as np
import pytest

from ppdet_ext.commands.pseudo_label import confident, parse_scores, rows_of
from ppdet_ext.data.datasets import FashionDataSet
from ppdet_ext.data.formats.rle_csv import IMATERIALIST, SEVERSTAL, RleCsv
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
    assert (one.name, one.size, one.doubtful) == ("a.jpg", (4, 6), False)
    assert (one.objects.labels.tolist(), one.objects.masks) == ([0, 1], [LEFT, RIGHT])
    assert confident("a.jpg", detections, THRESHOLDS, 9, None).objects.masks == [RIGHT]
    assert confident("a.jpg", detections, THRESHOLDS, 0, 0.7).doubtful
    assert confident("a.jpg", detections, THRESHOLDS, 0, 0.4).doubtful
    # Too small to count, so not doubtful either: 12 pixels score 0.79, and 8 score 0.4.
    assert not confident("a.jpg", detections, THRESHOLDS, 13, 0.4).doubtful
    assert not confident("a.jpg", found((0.4, 1, LEFT)), THRESHOLDS, 0, 0.45).doubtful
    assert not confident("a.jpg", Detections.empty(4, 6), THRESHOLDS, 0, 0.1).objects.masks


def test_the_same_object_twice_is_taken_once() -> None:
    one = confident("a.jpg", found((0.9, 0, LEFT), (0.85, 0, LEFT), (0.84, 1, LEFT)), THRESHOLDS, 0, None)
    assert (one.objects.labels.tolist(), one.objects.masks) == ([0, 1], [LEFT, LEFT])


def test_a_model_without_masks_gives_no_annotations() -> None:
    with pytest.raises(UserError, match=r"a\.jpg: the model predicts no masks"):
        confident("a.jpg", Detections.empty(4, 6, with_masks=False), THRESHOLDS, 0, None)


def test_rows_of_both_formats(tmp_path) -> None:
    some = confident("b.jpg", found((0.9, 1, LEFT), (0.9, 0, LEFT), (0.7, 1, RIGHT)), THRESHOLDS, 0, None)
    none = confident("a.jpg", Detections.empty(4, 6), THRESHOLDS, 0, None)

    def rows(form: RleCsv, *texts: str) -> list[tuple[str, ...]]:
        return [row for one in (none, some) for row in rows_of(one, form, texts)]

    assert rows(SEVERSTAL[0], "1", "2") == [("a.jpg", "", ""), ("b.jpg", "1", "1 8"), ("b.jpg", "2", "1 8 13 12")]
    assert rows(SEVERSTAL[1], "1", "2") == [
        ("a.jpg_1", ""), ("a.jpg_2", ""), ("b.jpg_1", "1 8"), ("b.jpg_2", "1 8 13 12"),
    ]  # fmt: skip
    assert rows(IMATERIALIST[0], "10", "20") == [
        ("a.jpg", "", "4", "6", ""), ("b.jpg", "1 8", "4", "6", "20"), ("b.jpg", "1 8", "4", "6", "10"),
        ("b.jpg", "13 12", "4", "6", "20"),
    ]  # fmt: skip
    whole = RleCsv({"id": "{name}", "mask": "{rle}"}, rows="image", base=0, order="rows", relative=True, blank=("-1",))
    assert rows(whole, "", "") == [("a.jpg", "-1"), ("b.jpg", "0 2 1 5 1 5 1 5 1 3")]


def test_fashion_reads_its_rows(tmp_path) -> None:
    some = confident("b.jpg", found((0.9, 1, LEFT), (0.9, 0, LEFT), (0.7, 1, RIGHT)), THRESHOLDS, 0, None)
    none = confident("a.jpg", Detections.empty(4, 6), THRESHOLDS, 0, None)
    with (tmp_path / "pseudo.csv").open("w", newline="") as file:
        rows = [row for one in (none, some) for row in rows_of(one, IMATERIALIST[0], ["0", "1"])]
        csv.writer(file).writerows([IMATERIALIST[0].header, *rows])
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
