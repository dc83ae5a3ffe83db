"""Traps of YOLO's polygons. Pictures are 10 pixels wide and 8 high."""

from pathlib import Path

import numpy as np
import pytest
from label_files import areas, read, write_png, write_text

from ppdet_ext.errors import UserError

YOLO_SQUARE = "0.2 0.125 0.6 0.125 0.6 0.5 0.2 0.5"


def yolo(place: Path, lines: str, names: str | None = "names: [pit, scratch]") -> Path:
    write_text(place / "labels" / "train" / "a.txt", lines)
    write_png(place / "images" / "train" / "a.png", np.zeros((8, 10)))
    if names is not None:
        write_text(place / "data.yaml", names)
    return place


def test_yolo_counts_what_is_no_polygon(tmp_path: Path) -> None:
    lines = (
        f"0 {YOLO_SQUARE}\n\n1 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2 0.9\n7 {YOLO_SQUARE}\n-1 {YOLO_SQUARE}\n"
        "0 20 10 60 10 60 40\nhello\n0 0.1 0.1 0.2 nan 0.3 0.3\n"
    )
    labels = read(yolo(tmp_path, lines))
    assert areas(labels) == {"images/train/a.png": [("pit", 12)]}
    assert labels.skipped == {
        "boxes without a mask": 2, "objects of a class that data.yaml does not name": 1,
        "lines whose class is no whole number": 1, "polygons that are not in parts of the picture's size (0 to 1)": 2,
        "lines that are not numbers": 1,
    }  # fmt: skip
    assert any("a.txt: line 3" in note for note in labels.notes)
    assert labels.images[0].subset == "train"


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ("names: {0: no, 1: off}", ["no", "off"]),
        ("names:\n  - 1\n  - 2\n", ["1", "2"]),
        ("names:\n  0: pit\n  2: dust\n", ["pit", "class_1", "dust"]),
        ("nc: 2\nnames: ['_background_', 'pit']", ["pit"]),
        (None, ["class_1"]),
    ],
)
def test_yolo_names(names: str | None, expected: list[str], tmp_path: Path) -> None:
    labels = read(yolo(tmp_path, f"1 {YOLO_SQUARE}", names))
    assert labels.class_names == expected
    assert labels.images[0].objects[0].class_name == expected[-1 if len(expected) == 1 else 1]


def test_yolo_scores_empty_files_and_pictures_without_one(tmp_path: Path) -> None:
    yolo(tmp_path, f"0 {YOLO_SQUARE} 0.75")
    write_text(tmp_path / "labels" / "valid" / "b_jpg.rf.0123.txt", " \n")
    write_png(tmp_path / "images" / "valid" / "b_jpg.rf.0123.jpg", np.zeros((8, 10)))
    write_png(tmp_path / "images" / "valid" / "c.jpg", np.zeros((8, 10)))
    write_text(tmp_path / "labels" / "valid" / "d.txt", f"0 {YOLO_SQUARE}")
    labels = read(tmp_path)
    first, empty = labels.images
    assert (first.objects[0].score, empty.objects, empty.group, empty.subset) == (0.75, [], "b_jpg", "val")
    assert labels.skipped == {
        "label files without a picture": 1, "pictures without a label file (an empty one means: nothing on it)": 1,
    }  # fmt: skip


def test_yolo_without_pictures_says_what_is_missing(tmp_path: Path) -> None:
    write_text(tmp_path / "data.yaml", "names: [pit]")
    write_text(tmp_path / "labels" / "a.txt", f"0 {YOLO_SQUARE}")
    with pytest.raises(UserError, match=r"1 label file without a picture.*--images DIR"):
        read(tmp_path)
    write_png(tmp_path / "elsewhere" / "a.jpg", np.zeros((8, 10)))
    assert areas(read(tmp_path / "data.yaml", images=tmp_path / "elsewhere")) == {"images/a.jpg": [("pit", 12)]}


def test_texts_of_numbers_alone_are_no_labels(tmp_path: Path) -> None:
    write_text(tmp_path / "log.txt", f"0 {YOLO_SQUARE}")
    with pytest.raises(UserError, match="no labels of a tool that is known"):
        read(tmp_path)
