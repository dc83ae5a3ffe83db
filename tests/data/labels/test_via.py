"""Traps of VGG Image Annotator's files."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import BAD, SQUARE, areas, read, write_json, write_png, write_text

from ppdet_ext.errors import UserError

Shape = dict[str, Any]


def via_region(shape: Shape, **attributes: Any) -> dict:
    return {"shape_attributes": shape, "region_attributes": attributes}


def via_polygon(points: Any = SQUARE, kind: str = "polygon") -> Shape:
    return {"name": kind, "all_points_x": [x for x, _ in points], "all_points_y": [y for _, y in points]}


def via(place: Path, *regions: dict, attributes: dict | None = None) -> Path:
    entries = {"a.jpg99": {"filename": "a.jpg", "size": 99, "regions": list(regions), "file_attributes": {}}}
    write_png(place / "pictures" / "a.jpg", np.zeros((80, 100)))
    project = {"_via_img_metadata": entries, "_via_attributes": {"region": attributes or {}, "file": {}}}
    return write_json(place / "project.json", project if attributes else entries)


def test_via_shapes(tmp_path: Path) -> None:
    square = [*SQUARE, SQUARE[0]]
    regions = [
        via_region(via_polygon(), type="pit"), via_region(via_polygon(square, "polyline"), type="dust"),
        via_region(via_polygon(kind="polyline"), type="pit"), via_region({"name": "point", "cx": 1, "cy": 1}, type="pit"),
        via_region({"name": "rect", "x": 10, "y": 20, "width": 5, "height": 4}, type="pit"),
        via_region({"name": "circle", "cx": 50, "cy": 40, "r": 10}, type="pit"),
        via_region({"name": "ellipse", "cx": 50, "cy": 40, "rx": 20, "ry": 10, "theta": math.pi / 2}, type="pit"),
        via_region({"name": "rect", "x": 10}, type="pit"), via_region(via_polygon(BAD[0]), type="pit"),
        via_region({}, type="pit"),
    ]  # fmt: skip
    labels = read(via(tmp_path, *regions), images=tmp_path / "pictures")
    objects = labels.images[0].objects
    assert [(one.class_name, one.mask.area) for one in objects[:3]] == [("pit", 12), ("dust", 12), ("pit", 20)]
    assert objects[3].mask.area == pytest.approx(math.pi * 100, rel=0.02)
    assert objects[4].mask.area == pytest.approx(math.pi * 200, rel=0.02)
    assert objects[4].mask.box == pytest.approx((40, 20, 60, 60), abs=1)
    assert labels.skipped == {
        "polylines": 1, "points": 1, "shapes of the type rect without its numbers": 1,
        "polygons of fewer than three points": 1, "shapes of the type None": 1,
    }  # fmt: skip


def test_via_needs_the_pictures(tmp_path: Path) -> None:
    file = via(tmp_path, via_region(via_polygon(), type="pit"))
    with pytest.raises(UserError, match=r"VIA's files tell no size of a picture.*--images DIR"):
        read(file)
    with pytest.raises(UserError, match="no size of a picture"):
        read(file, images=write_png(tmp_path / "other" / "b.jpg", np.zeros((8, 8))).parent)


@pytest.mark.parametrize(
    ("regions", "attributes", "expected"),
    [
        ([{"note": "x", "defect": "pit"}, {"note": "y", "defect": ""}], None, ["pit"]),
        ([{"text": "x", "surface": "pit"}] * 2, {"text": {"type": "text"}, "surface": {"type": "dropdown"}}, ["pit"]),
        (
            [{"kinds": {"pit": True}}, {"kinds": {"pit": False, "dust": True}}, {"kinds": {"a": True, "b": True}}],
            None,
            ["pit", "dust"],
        ),
        ([{}, {}], None, ["object"]),
    ],
)
def test_via_finds_the_attribute_of_the_class(
    regions: list[dict], attributes: dict | None, expected: list[str], tmp_path: Path
) -> None:
    drawn = [via_region(via_polygon([[x + 10 * number, y] for x, y in SQUARE]), **own) for number, own in enumerate(regions)]
    assert read(via(tmp_path, *drawn, attributes=attributes), images=tmp_path / "pictures").class_names == expected


@pytest.mark.parametrize("mark", ["", "#"])
def test_via_tables(mark: str, tmp_path: Path) -> None:
    """CSV as VIA 2 writes it; VIA 1 begins with a #."""
    shape = json.dumps(via_polygon()).replace('"', '""')
    rows = [
        f"{mark}filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes",
        f'a.jpg,99,"{{}}",1,0,"{shape}","{{""type"":""pit""}}"',
        'b.jpg,99,"{}",0,0,"{}","{}"',
    ]
    for name in "ab":
        write_png(tmp_path / f"{name}.jpg", np.zeros((8, 10)))
    file = write_text(tmp_path / "via.csv", "\n".join(rows))
    assert areas(read(file)) == {"a.jpg": [("pit", 12)], "b.jpg": []}
    write_text(file, "\n".join([*rows, "c.jpg,1,{},1,0,broken,{}"]))
    with pytest.raises(UserError, match="row 4 has no JSON"):
        read(file)
