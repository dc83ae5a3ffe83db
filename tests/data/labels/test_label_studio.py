"""Label Studio's JSON: brushes, polygons in percent, whose annotation counts, and which picture a task is about."""

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from ppdet_ext.data.labels.brush_rle import decode_brush, decode_runs
from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet
from ppdet_ext.errors import UserError

READ = Callable[..., LabelSet]
# label-studio-sdk, tests/custom/converter/test_brush.py (Apache-2.0).
SDK_VALUES = [1, 1, 1, 1, 2, 3, 5, 6, 7, 8, 4, 4, 4, 4, 4, 4, 4, 4]
SDK_CODE = [0, 0, 0, 18, 57, 27, 252, 96, 32, 1, 0, 6, 0, 40, 0, 192, 3, 128, 17, 56, 32]
POLYGON = {"points": [[10, 10], [50, 10], [50, 50], [10, 50]], "polygonlabels": ["hole"]}


@pytest.fixture
def read(tmp_path: Path) -> READ:
    def one(*tasks: dict, images: Path | None = None) -> LabelSet:
        path = tmp_path / "export.json"
        path.write_text(json.dumps(tasks))
        return read_labels([str(path)], None if images is None else str(images))

    return one


def task(*results: dict, data: dict | None = None, **annotation: Any) -> dict:
    return {"id": 4, "data": data or {"image": "a.jpg"}, "annotations": [{"result": list(results), **annotation}]}


def region(value: dict, kind: str = "polygonlabels", **other: Any) -> dict:
    return {"id": "r", "type": kind, "value": value, "original_width": 40, "original_height": 20, **other}


def code_of(values: list[int], literal: bool) -> list[int]:
    """Bytes of a code with word size 8 and sizes 3, 4, 8, 16: single values, or one record of as many values as given."""
    bits = f"{len(values):032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    if literal:
        bits += f"011{len(values) - 1:016b}" + "".join(f"{value:08b}" for value in values)
    else:
        bits += "".join(f"100{0:03b}{value:08b}" for value in values)
    bits += "0" * (-len(bits) % 8)
    return [int(bits[at : at + 8], 2) for at in range(0, len(bits), 8)]


def test_the_sdks_vector_is_decoded() -> None:
    lengths, values = decode_runs(SDK_CODE, len(SDK_VALUES))
    assert np.repeat(values, lengths).tolist() == SDK_VALUES


@given(*[st.integers(1, 6)] * 2, st.integers(0, 1 << 32), st.booleans())
def test_a_pixel_is_set_where_its_alpha_is_not_zero(height: int, width: int, seed: int, literal: bool) -> None:
    alpha = np.random.default_rng(seed).choice([0, 0, 1, 100, 255], (height, width))
    values = [value for pixel in alpha.ravel().tolist() for value in (7, 0, 9, pixel)]
    assert np.array_equal(decode_brush(code_of(values, literal), *alpha.shape).to_bitmap(), alpha != 0)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        (SDK_CODE, "rle has 18 values, its picture 4 x height x width = 16"),
        (code_of([255] * 16, literal=False)[:-1], "cut off"),
        (code_of([255] * 16, literal=True)[:-1], "cut off"),
        (code_of([255] * 16, literal=True)[:8], "cut off"),
        (SDK_CODE[:5], "cut off"),
        ([], "cut off"),
        ([0, 0, 0, 256], "no list of bytes"),
        (["a"], "no list of bytes"),
        ([255] * 40, "rle has 4294967295 values"),
    ],
)
def test_damaged_brushes_are_errors(code: list, message: str) -> None:
    with pytest.raises(UserError, match=message):
        decode_brush(code, 2, 2)


def test_polygons_are_in_percent_of_the_picture(read: READ) -> None:
    (image,) = read(task(region(POLYGON))).images
    (one,) = image.objects
    assert (image.name, image.height, image.width) == ("a.jpg", 20, 40)
    assert (one.class_name, one.mask.area, one.polygons) == ("hole", 16 * 8, [[4, 2, 20, 2, 20, 10, 4, 10]])


def test_what_has_no_mask_is_counted(read: READ) -> None:
    box = {"x": 1, "y": 1, "width": 5, "height": 5, "rectanglelabels": ["hole"]}
    results = [
        region(POLYGON),
        region(box, "rectanglelabels"),
        region({**box, "rotation": 3}, ""),
        region({"x": 1, "y": 1, "radiusX": 3, "radiusY": None, "ellipselabels": ["hole"]}, "ellipselabels"),
        region({"x": 1, "y": 1, "width": 0.3, "keypointlabels": ["hole"]}, "keypointlabels"),
        region({"points": POLYGON["points"]}, "polygon", id="other"),
        region({**POLYGON, "closed": False}),
        region({**POLYGON, "points": [[1, 1], [2, 2]]}),
        region({**POLYGON, "points": [[1, 1], [2, None], [3, 3]]}),
        region(POLYGON, image_rotation=90),
        region(POLYGON, original_width=41),
        region({"format": "rle", "rle": SDK_CODE, "brushlabels": ["hole"]}, "brushlabels"),
        region({"format": "rle", "rle": code_of([255] * 20, True), "brushlabels": ["hole"]}, "brushlabels"),
        region({"format": "png", "rle": "abc", "brushlabels": ["hole"]}, "brushlabels"),
        region({"imageDataURL": "data:image/png;base64,xx", "bitmasklabels": ["hole"]}, "bitmasklabels"),
        {"type": "choices", "value": {"choices": ["good"]}},
        {"type": "relation", "from_id": "r", "to_id": "s"},
    ]
    assert read(task(*results)).skipped == {
        "boxes without a mask": 2,
        "ellipses without centre and radius": 1,
        "points": 1,
        "regions without a label": 1,
        "open polygons": 1,
        "polygons of fewer than three points": 1,
        "polygons with coordinates that are no numbers": 1,
        "regions of a picture that was turned in the tool (image_rotation)": 1,
        "regions whose original_width and original_height are not those of the picture's others": 1,
        "brush masks of another size than their picture": 2,
        "brush masks of another format than rle": 1,
        "bitmasks that are no PNG of their picture's size": 1,
    }


def test_a_brush_and_its_labels_are_two_results_of_one_region(read: READ) -> None:
    rle = code_of([255] * (4 * 20 * 40), literal=True)
    brush = region({"format": "rle", "rle": rle}, "brush", id="x")
    labels = region({"format": "rle", "rle": rle, "labels": ["hole", "rust"]}, "labels", id="x")
    found = read(task(brush, labels)).images[0].objects
    assert [(one.class_name, one.mask.area) for one in found] == [("hole", 800), ("rust", 800)]


def test_bitmasks_are_the_opaque_pixels_of_a_png(read: READ) -> None:
    pixels = np.zeros((20, 40, 4), np.uint8)
    pixels[3:5, 2:8, 3] = 255  # black on nothing
    held = io.BytesIO()
    Image.fromarray(pixels).save(held, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(held.getvalue()).decode()}"
    (one,) = read(task(region({"imageDataURL": url, "bitmasklabels": ["hole"]}, "bitmasklabels"))).images[0].objects
    assert (one.mask.area, one.mask.box) == (12, (2, 3, 8, 5))


def test_ellipses_are_in_percent_and_turned_clockwise(read: READ) -> None:
    value = {"x": 50, "y": 50, "radiusX": 20, "radiusY": 10, "rotation": 0, "ellipselabels": ["hole"]}
    level, upright = (read(task(region({**value, "rotation": turn}, "ellipselabels"))) for turn in (0, 90))
    assert abs(level.images[0].objects[0].mask.area - np.pi * 8 * 2) < 4
    assert level.images[0].objects[0].mask.box == (12, 8, 28, 12)
    assert upright.images[0].objects[0].mask.box == (18, 2, 22, 18)
    assert "ellipses are read as masks, drawn as polygons of many corners" in level.notes


def test_the_annotation_that_counts(read: READ) -> None:
    def by(label: str, **other: Any) -> dict:
        return {"result": [region({**POLYGON, "polygonlabels": [label]})], **other}

    annotations = [
        by("old", updated_at="2024-01-01T00:00:00Z"),
        by("new", updated_at="2024-03-01T00:00:00Z"),
        by("cancelled", updated_at="2025-01-01T00:00:00Z", was_cancelled=True),
    ]
    one = {"id": 1, "data": {"image": "a.jpg"}, "annotations": annotations, "predictions": [by("machine")]}
    labels = read(one)
    assert labels.class_names == ["new"]
    assert labels.skipped == {
        "cancelled annotations": 1,
        "annotations of a task that has a newer one, or one marked as ground truth": 1,
        "predictions, which are no labels": 1,
    }
    annotations.append(by("truth", updated_at="2020-01-01T00:00:00Z", ground_truth=True))
    assert read(one).class_names == ["truth"]


def test_tasks_that_nobody_has_labelled_are_no_pictures(read: READ) -> None:
    unlabelled = {"id": 2, "data": {"image": "b.jpg"}, "annotations": [], "predictions": []}
    labels = read(task(region(POLYGON)), unlabelled)
    assert [image.name for image in labels.images] == ["a.jpg"]
    assert labels.skipped == {"tasks without an annotation": 1}


def test_a_picture_seen_to_be_empty_needs_its_file(read: READ, tmp_path: Path) -> None:
    empty = task(data={"image": "/data/upload/3/0123abcd-b.png"})
    assert [image.name for image in read(task(region(POLYGON)), empty).images] == ["a.jpg"]
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("L", (30, 10)).save(folder / "b.png")
    image = read(task(region(POLYGON)), empty, images=folder).images[1]
    assert (image.name, image.height, image.width, image.file) == ("0123abcd-b.png", 10, 30, str(folder / "b.png"))


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"image": "a.jpg"}, "a.jpg"),
        ({"image": "/data/upload/12/89abcdef-a.jpg"}, "89abcdef-a.jpg"),
        ({"image": "/data/local-files/?d=dir%2Fsub/a%20b.jpg"}, "dir/sub/a b.jpg"),
        ({"img": "https://host/bucket/a.jpg?token=1&x=/b.png"}, "bucket/a.jpg"),
        ({"image": "s3://bucket/x/a.jpg"}, "x/a.jpg"),
        ({"pixels": "dir\\a.tif", "text": "words"}, "dir/a.tif"),
        ({"image": "C:\\dir\\a.jpg"}, "dir/a.jpg"),
        ({"image": "/image2"}, "image2"),
    ],
)
def test_the_picture_of_a_task(read: READ, data: dict, name: str) -> None:
    assert read(task(region(POLYGON), data=data)).images[0].name == name


def test_an_uploaded_file_goes_before_the_url(read: READ) -> None:
    assert read({**task(region(POLYGON)), "file_upload": "0123abcd-c.jpg"}).images[0].name == "0123abcd-c.jpg"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"image": "/data/local-files/?d=../../etc/a.jpg"}, "leads out of the folder"),
        ({"a": "1.jpg", "b": "2.jpg"}, "has several pictures"),
        ({"text": "hello"}, "has no pictures"),
        ({"image": "data:image/png;base64,AAAA"}, "has no pictures"),
    ],
)
def test_pictures_that_are_not_told(read: READ, data: dict, message: str) -> None:
    with pytest.raises(UserError, match=f"export.json: task 4: .*{message}"):
        read(task(region(POLYGON), data=data))


def test_the_short_export(read: READ) -> None:
    short = {
        "id": 1,
        "image": "/data/upload/1/0123abcd-a.jpg",
        "label": [{**POLYGON, "original_width": 40, "original_height": 20}],
    }
    labels = read({**short, "annotator": 1, "annotation_id": 3})
    assert labels.format == "label_studio"
    assert [(image.name, image.objects[0].mask.area) for image in labels.images] == [("0123abcd-a.jpg", 128)]


def test_the_export_of_versions_before_1(read: READ) -> None:
    old = task(region(POLYGON))
    old["completions"] = old.pop("annotations")
    assert read(old).class_names == ["hole"]


def test_a_result_of_another_shape_is_an_error(read: READ) -> None:
    with pytest.raises(UserError, match="task 4: result is no list of regions"):
        read({**task(region(POLYGON)), "annotations": [{"result": "none"}]})
