"""Traps of Supervisely's projects."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_files import BAD, PROPERTY, SMALL, SQUARE, base64_png, read, write_json


def supervisely(place: Path, *objects: dict, classes: Any = ({"title": "pit", "shape": "any"},)) -> Path:
    write_json(place / "meta.json", {"classes": list(classes), "tags": []})
    write_json(place / "ds" / "ann" / "a.png.json", {"size": {"height": 8, "width": 10}, "tags": [], "objects": list(objects)})
    return place


def drawn(kind: str, exterior: Any, interior: Any = (), **more: Any) -> dict:
    return {"classTitle": "pit", "geometryType": kind, "points": {"exterior": exterior, "interior": list(interior)}, **more}


@PROPERTY
@given(pixels=SMALL, x=st.integers(-3, 8), y=st.integers(-3, 6), mode=st.sampled_from(["palette", "grey", "alpha", "bool"]))
def test_supervisely_bitmaps(pixels: np.ndarray, x: int, y: int, mode: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    mask = pixels > 0
    picture = {"alpha": np.dstack([mask * 255] * 4), "bool": mask}.get(mode, mask.astype(np.uint8))
    palette = {"palette": True, "transparent": True} if mode == "palette" else {}
    bitmap = {"data": base64_png(picture, packed=True, **palette), "origin": [x, y]}
    item = {"classTitle": "pit", "geometryType": "bitmap", "bitmap": bitmap}
    canvas = np.zeros((30, 30), bool)
    canvas[10 + y : 10 + y + mask.shape[0], 10 + x : 10 + x + mask.shape[1]] = mask
    expected = canvas[10:18, 10:20]
    labels = read(supervisely(tmp_path_factory.mktemp("sly"), item, drawn("polygon", [[0, 0], [9, 0], [9, 7], [0, 7]])))
    found = [one for one in labels.images[0].objects if one.polygons is None]
    assert [one.mask.to_bitmap().tolist() for one in found] == ([expected.astype(int).tolist()] if expected.any() else [])


def test_supervisely_kinds(tmp_path: Path) -> None:
    objects = [
        drawn("polygon", SQUARE, [[[3, 2], [5, 2], [5, 3], [3, 3]]]),
        drawn("rectangle", [[7, 5], [8, 6]]),
        drawn("polygon", [[0, 0], [2, 0], [2, 2]], instance="x"), drawn("polygon", [[0, 5], [2, 5], [2, 7]], instance="x"),
        drawn("line", SQUARE), drawn("point", [[1, 1]]), drawn("cuboid", SQUARE), drawn("polygon", BAD[0]),
        {"classTitle": "pit", "geometryType": "bitmap", "bitmap": {"data": "AAAA", "origin": [0, 0]}},
        {"classTitle": "pit", "geometryType": "bitmap", "bitmap": {"data": base64_png(np.ones((2, 2)), packed=True)}},
    ]  # fmt: skip
    labels = read(supervisely(tmp_path, *objects))
    first, second, third = labels.images[0].objects
    assert (first.mask.area, first.mask.holes, first.polygons) == (10, 1, None)
    assert (second.mask.area, len(third.polygons or [])) == (4, 2)
    assert labels.skipped == {
        "polylines": 1, "points": 1, "cuboids": 1, "polygons of fewer than three points": 1, "malformed objects": 1,
        "shapes whose points are no numbers": 1,
    }  # fmt: skip
