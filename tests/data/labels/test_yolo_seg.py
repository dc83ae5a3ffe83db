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
    lines = f"0 {YOLO_SQUARE}\n\n1 0.5 0.5 0.2 0.2\n1 0.5 0.5 0.2 0.2 0.9\n7 {YOLO_SQUARE}\n-1 {YOLO_SQUARE}\nhello\n"
    labels = read(yolo(tmp_path, lines))
    assert areas(labels) == {"images/train/a.png": [("pit", 12), ("class_7", 12)]}
    assert labels.class_names == ["pit", "scratch", "class_7"]
    (warning,) = labels.warnings
    assert "the named classes end with 1; class 7 (1 line) is read as class_7" in warning
    assert "--rename 'class_7=NAME'" in warning
    assert labels.skipped == {
        "boxes without a mask": 2, "lines whose class is no whole number": 1, "lines that are not numbers": 1,
    }  # fmt: skip
    assert any("a.txt: line 3" in note for note in labels.notes)
    assert labels.images[0].subset == "train"


def test_a_picture_with_a_polygon_in_pixels_is_left_out_with_a_warning(tmp_path: Path) -> None:
    yolo(tmp_path, f"0 {YOLO_SQUARE}")
    write_text(tmp_path / "labels" / "train" / "b.txt", f"0 {YOLO_SQUARE}\n0 20 10 60 10 60 40\n")
    write_png(tmp_path / "images" / "train" / "b.png", np.zeros((8, 10)))
    labels = read(tmp_path)
    assert areas(labels) == {"images/train/a.png": [("pit", 12)]}
    assert labels.lost == [str(tmp_path / "images" / "train" / "b.png")]
    assert any(note.startswith("skipped 1 polygon not in parts of the picture's size (0 to 1): ") for note in labels.notes)
    (warning,) = labels.warnings
    assert warning.startswith("1 picture left out whole, ")
    assert "images/train/b.png" in warning


def test_classes_without_names_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    lines = "".join(f"{number} {YOLO_SQUARE}\n" for number in (10, 2, 0))
    labels = read(yolo(tmp_path, lines, None))
    assert (labels.class_names, labels.warnings) == (["class_0", "class_2", "class_10"], [])


def test_a_class_named_twice_is_warned_of(tmp_path: Path) -> None:
    labels = read(yolo(tmp_path, f"2 {YOLO_SQUARE}", "names: [pit, scratch, pit]"))
    assert labels.class_names == ["pit", "scratch"]
    assert "the classes 0 and 2 are all called pit: read as one" in labels.warnings[0]


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
