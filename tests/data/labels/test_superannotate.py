"""Traps of SuperAnnotate's vector and pixel projects."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import BAD, BAD_REASONS, SQUARE, areas, flat, read, write_json, write_png

from ppdet_ext.errors import UserError


def superannotate(place: Path, *instances: dict, name: str = "a.jpg___objects.json", size: Any = (8, 10)) -> Path:
    metadata = {"name": "a.jpg", "height": size and size[0], "width": size and size[1]}
    return write_json(place / name, {"metadata": metadata, "instances": list(instances), "tags": [], "comments": []})


def instance(points: Any = None, **more: Any) -> dict:
    return {"type": "polygon", "className": "pit", "points": flat(points or SQUARE), "groupId": 0, "probability": 100, **more}


def test_superannotate_vector(tmp_path: Path) -> None:
    write_json(tmp_path / "classes" / "classes.json", [{"id": 5, "name": "dust"}])
    instances = [
        instance(exclude=[flat([[3, 2], [5, 2], [5, 3], [3, 3]])], probability=90), instance(className=None, classId=5),
        instance(type="ellipse", cx=5, cy=4, rx=4, ry=3, angle=0), instance(type="bbox"), instance(type="tag"),
        instance(className=None),
        *(instance(bad) for bad in BAD),
    ]  # fmt: skip
    labels = read(superannotate(tmp_path, *instances))
    first, second, third = labels.images[0].objects
    assert (first.mask.area, first.mask.holes, first.polygons, first.score) == (10, 1, None, 0.9)
    assert (second.class_name, second.mask.area, second.score) == ("dust", 12, None)
    assert third.mask.area == pytest.approx(math.pi * 12, rel=0.1)
    assert labels.skipped == {"boxes without a mask": 1, "tags": 1, "objects without a label": 1, **BAD_REASONS}
    assert any("classes.json does not have: pit" in note for note in labels.notes)


def test_superannotate_pixels(tmp_path: Path) -> None:
    colours = np.zeros((8, 10, 4), np.uint8)
    colours[1:3, 1:4], colours[5:7, 5:9], colours[0, 9] = (0, 0, 15, 255), (1, 2, 3, 255), (9, 9, 9, 255)
    colours[7, :3] = (0, 0, 15, 0)  # transparent
    parts = {"type": None, "points": None, "groupId": None}
    both = {"className": "pit", "parts": [{"color": "#00000f"}, {"color": "#010203"}], **parts}
    none = {"className": "pit", "parts": [{"color": "#ffffff"}], **parts}
    bad = {"className": "pit", "parts": [{"color": "red"}], **parts}
    file = superannotate(tmp_path, both, none, bad, name="a.jpg___pixel.json")
    with pytest.raises(UserError, match=r"1 picture whose save\.png is missing"):
        read(file)
    write_png(tmp_path / "a.jpg___save.png", colours)
    labels = read(file)
    assert areas(labels) == {"a.jpg": [("pit", 14)]}
    assert labels.skipped == {"instances whose colours the save.png does not have": 1, "parts without a colour": 1}
    write_png(tmp_path / "a.jpg___save.png", colours[:4])
    with pytest.raises(UserError, match="1 mask of another size than their picture"):
        read(file)
