"""Traps of V7 Darwin's JSON."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from label_files import BAD, BAD_REASONS, PROPERTY, SMALL, SQUARE, areas, flat, read, write_json

from ppdet_ext.errors import UserError


def darwin(place: Path, *annotations: dict, size: Any = (8, 10), kind: str = "image") -> Path:
    slot = {"type": kind, "slot_name": "0", "height": size and size[0], "width": size and size[1]}
    item = {"name": "a.jpg", "path": "/line 1", "slots": [slot]}
    return write_json(place / "a.json", {"version": "2.0", "item": item, "annotations": list(annotations)})


def path_of(points: list) -> list[dict]:
    return [{"x": x, "y": y} for x, y in points]


def layer(pixels: np.ndarray, **changes: Any) -> dict:
    flat_pixels = pixels.ravel()
    starts = np.flatnonzero(np.diff(flat_pixels, prepend=-1))
    counts = np.diff(starts, append=flat_pixels.size)
    runs = [int(value) for pair in zip(flat_pixels[starts], counts) for value in pair]
    mapping = {f"id{value}": int(value) for value in range(1, 4)}
    return {"name": "__raster_layer__", "raster_layer": {"dense_rle": runs, "mask_annotation_ids_mapping": mapping, **changes}}


@PROPERTY
@given(pixels=SMALL)
def test_darwin_raster_layers(pixels: np.ndarray, tmp_path_factory: pytest.TempPathFactory) -> None:
    pixels[0, 0] = 1
    masks = [{"id": f"id{value}", "name": f"c{value}", "mask": {}} for value in range(1, 4)]
    labels = read(darwin(tmp_path_factory.mktemp("v7"), *masks, layer(pixels.astype(np.int64)), size=pixels.shape))
    for each in labels.images[0].objects:
        assert np.array_equal(each.mask.to_bitmap() > 0, pixels == int(each.class_name[1:]))
    assert len(labels.images[0].objects) == len(set(pixels.ravel()) - {0})


def test_darwin_polygons_are_even_odd(tmp_path: Path) -> None:
    hole, far = [[3, 2], [5, 2], [5, 3], [3, 3]], [[7, 5], [9, 5], [9, 7], [7, 7]]
    annotations = [
        {"name": "pit", "polygon": {"paths": [path_of(path) for path in (SQUARE, hole, far)]}},
        {"name": "dust", "polygon": {"path": path_of(SQUARE)}, "slot_names": ["0"]},
        {"name": "pit", "ellipse": {"center": {"x": 5, "y": 4}, "radius": {"x": 4, "y": 3}, "angle": 0}},
        {"name": "pit", "polygon": {"path": path_of(SQUARE)}, "slot_names": ["1"]},
        {"name": "pit", "bounding_box": {"x": 1, "y": 1, "w": 2, "h": 2}}, {"name": "wet", "tag": {}},
        {"name": "pit", "mask": {}, "id": "7"},
        {"name": "pit", "line": {"path": path_of(SQUARE)}},
        *({"name": "pit", "polygon": {"paths": [path_of(bad)]}} for bad in BAD),
    ]  # fmt: skip
    labels = read(darwin(tmp_path, *annotations))
    first, second, third = labels.images[0].objects
    assert (first.mask.area, first.mask.holes, first.polygons) == (14, 1, None)
    assert (second.mask.area, second.polygons) == (12, [flat(SQUARE)])
    assert third.mask.area == pytest.approx(math.pi * 12, rel=0.1)
    assert labels.images[0].name == "line 1/a.jpg"
    assert labels.skipped == {
        "annotations of further slots": 1, "boxes without a mask": 1, "tags": 1, "masks that no raster layer holds": 1,
        "polylines": 1, **BAD_REASONS,
    }  # fmt: skip


@pytest.mark.parametrize("runs", [[0, 79, 1, 2], [1, -1, 0, 81], [1, 80, 0], ["x", "y"], [1, 10**19, 0, 1], None])
def test_darwin_runs_that_do_not_fill_the_picture(runs: Any, tmp_path: Path) -> None:
    mask = {"id": "id1", "name": "pit", "mask": {}}
    polygon = {"name": "pit", "polygon": {"path": path_of(SQUARE)}}
    labels = read(darwin(tmp_path, mask, polygon, layer(np.ones((8, 10), np.int64), dense_rle=runs)))
    assert areas(labels) == {"line 1/a.jpg": [("pit", 12)]}
    assert labels.skipped.total() == 2


def test_darwin_version_1_and_videos(tmp_path: Path) -> None:
    polygon = {"name": "pit", "complex_polygon": {"path": [path_of(SQUARE)]}}
    image = {"filename": "a.jpg", "path": "/", "height": 8, "width": 10}
    first = write_json(tmp_path / "1.json", {"dataset": "x", "image": image, "annotations": [polygon]})
    assert areas(read(first)) == {"a.jpg": [("pit", 12)]}
    with pytest.raises(UserError, match="only pictures are read"):
        read(darwin(tmp_path, polygon, kind="video"))


@pytest.mark.parametrize(
    ("angle", "box"),
    [(math.pi / 2, {"x": 1, "y": 0, "w": 4, "h": 8}), (90, {"x": 1, "y": 0, "w": 4, "h": 8}), (math.pi / 2, None), (90, None)],
)
def test_darwin_angles_of_ellipses(angle: float, box: dict | None, tmp_path: Path) -> None:
    ellipse = {"center": {"x": 5, "y": 4}, "radius": {"x": 4, "y": 2}, "angle": angle}
    item = {"name": "pit", "ellipse": ellipse, **({"bounding_box": box} if box else {})}
    assert read(darwin(tmp_path, item)).images[0].objects[0].mask.box == pytest.approx((3, 0, 7, 8), abs=1)
