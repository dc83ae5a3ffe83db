"""Traps of labelme's files."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import SQUARE, areas, base64_png, png, read, write_json, write_png

from ppdet_ext.errors import UserError


def shape(label: Any = "pit", points: Any = SQUARE, kind: str | None = "polygon", **more: Any) -> dict:
    return {"label": label, "points": points, "shape_type": kind, "group_id": None, **more}


def content(*shapes: Any, name: Any = "a.jpg", size: tuple[Any, Any] = (8, 10), **more: Any) -> dict:
    return {"shapes": list(shapes), "imagePath": name, "imageData": None, "imageHeight": size[0], "imageWidth": size[1], **more}


def test_a_group_of_two_classes_is_two_objects(tmp_path: Path) -> None:
    far = [[7, 5], [9, 5], [9, 7]]
    file = write_json(tmp_path / "a.json", content(shape(group_id=1), shape(points=far, group_id=1), shape("dust", group_id=1)))
    (image,) = read(file).images
    assert [(one.class_name, len(one.polygons or [])) for one in image.objects] == [("pit", 2), ("dust", 1)]
    assert image.objects[0].mask.area > image.objects[1].mask.area == 12


@pytest.mark.parametrize(
    ("points", "reason"),
    [
        ([[1, 1]], "polygons of fewer than three points"),
        ([[1, 1], [2, float("nan")], [3, 3]], "polygons with coordinates that are not finite"),
        ([[1, 1], [2, 1e9], [3, 3]], "polygons far outside of their picture"),
        ([[1, 1], [2], [3, 3]], "shapes whose points are no numbers"),
        ("here", "shapes whose points are no numbers"),
        (None, "shapes whose points are no numbers"),
        ([[20, 20], [25, 20], [25, 25]], "empty masks"),
    ],
)
def test_a_bad_shape_is_counted_and_named(points: Any, reason: str, tmp_path: Path) -> None:
    labels = read(write_json(tmp_path / "a.json", content(shape(points=points), shape())))
    assert areas(labels) == {"a.jpg": [("pit", 12)]}
    assert labels.skipped == {reason: 1}
    assert any(note.startswith("skipped 1 ") and "a.json: shape 0" in note for note in labels.notes)


def test_shapes_that_are_no_masks_are_counted_by_kind(tmp_path: Path) -> None:
    shapes = [shape(kind=kind) for kind in ("line", "linestrip", "point", "points", "cube")]
    labels = read(write_json(tmp_path / "a.json", content(*shapes, shape(None), shape(7), "text")))
    assert labels.skipped == {
        "lines": 1, "polylines": 1, "points": 2, "shapes of the type cube": 1, "objects without a label": 1,
        "shapes that are no objects": 1,
    }  # fmt: skip
    assert labels.class_names == ["7"]


def test_pictures_that_lost_all_objects_are_no_background(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", content(shape()))
    write_json(tmp_path / "b.json", content(shape(kind="line"), name="b.jpg"))
    write_json(tmp_path / "c.json", content(shape("_background_"), name="c.jpg"))
    write_json(tmp_path / "d.json", content(name="d.jpg"))
    write_json(tmp_path / "package.json", {"name": "other"})
    labels = read(tmp_path)
    assert [image.name for image in labels.images] == ["a.jpg", "c.jpg", "d.jpg"]
    assert any("package.json" in note for note in labels.notes)


def test_a_mask_lies_between_its_corners_and_is_cut_at_the_border(tmp_path: Path) -> None:
    pixels = np.arange(12).reshape(3, 4) % 2 * 255
    whole = shape(points=[[2.7, 1.2], [5.9, 3.9]], kind="mask", mask=base64_png(pixels))
    outside = shape("cut", points=[[8, 6], [11, 8]], kind="mask", mask=base64_png(np.ones((3, 4))))
    wrong = shape(points=[[2, 1], [6, 3]], kind="mask", mask=base64_png(pixels))
    damaged = shape(points=[[2, 1], [5, 3]], kind="mask", mask="iVBORw0KGgo=")
    labels = read(write_json(tmp_path / "a.json", content(whole, outside, wrong, damaged)))
    first, second = labels.images[0].objects
    assert np.array_equal(first.mask.to_bitmap()[1:4, 2:6], pixels > 0)
    assert (second.mask.area, second.mask.box) == (4, (8, 6, 10, 8))
    assert labels.skipped == {"masks of another size than their box": 1, "malformed objects": 1}


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("a.jpg", "lab/a.jpg"),
        ("../pics/a.jpg", "pics/a.jpg"),
        ("..\\pics\\a.jpg", "pics/a.jpg"),
        ("C:\\Users\\x\\a.jpg", "lab/a.jpg"),
        ("/etc/a.jpg", "lab/a.jpg"),
        ("../../../a.jpg", "lab/a.jpg"),
    ],
)
def test_names_stay_inside_of_the_folder(written: str, name: str, tmp_path: Path) -> None:
    write_json(tmp_path / "lab" / "a.json", content(shape(), name=written))
    write_json(tmp_path / "b.json", content(shape(), name="b.jpg"))
    write_png(tmp_path / "pics" / "a.jpg", np.zeros((8, 10)))
    labels = read(tmp_path)
    assert {image.name for image in labels.images} == {"b.jpg", name}
    assert next(image.file for image in labels.images if image.name == name) == str(tmp_path / "pics" / "a.jpg")


def test_early_files_without_a_size(tmp_path: Path) -> None:
    file = write_json(tmp_path / "a.json", content(shape(), size=(None, None)))
    with pytest.raises(UserError, match=r"no imageHeight and imageWidth.*--images"):
        read(file)
    # The picture itself, in the file; what follows its beginning is never decoded.
    data = base64.b64encode(png(np.zeros((8, 10)))).decode() + "A" * (4 << 20) + "!"
    inside = write_json(tmp_path / "b.json", content(shape(), size=(None, None), imageData=data))
    assert (read(inside).images[0].height, read(inside).images[0].width) == (8, 10)
    write_png(tmp_path / "a.jpg", np.zeros((8, 10)))
    assert read(file).images[0].height == 8


def test_an_impossible_size_is_an_error_with_the_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"a\.json.*height or width"):
        read(write_json(tmp_path / "a.json", content(shape(), size=(-8, 10))))
    with pytest.raises(UserError, match=r"a\.json"):
        read(write_json(tmp_path / "a.json", content(shape(), name=None)))


def test_nothing_left_says_why(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no object with a mask, only 1 line"):
        read(write_json(tmp_path / "a.json", content(shape(kind="line"))))
