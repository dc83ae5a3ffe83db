"""Traps of Datumaro's JSON."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import BAD, BAD_REASONS, SQUARE, flat, read, write_json, write_png

from ppdet_ext.errors import UserError


def datumaro(place: Path, *annotations: dict, size: Any = (8, 10), name: str = "train") -> Path:
    image = {"path": "/home/somebody/a.png", **({"size": list(size)} if size else {})}
    items = [{"id": "sub/a", "annotations": list(annotations), "image": image}]
    labels = [{"name": "background"}, {"name": "pit"}, {"name": "dust"}]
    content = {"infos": {}, "categories": {"label": {"labels": labels}}, "items": items}
    return write_json(place / "annotations" / f"{name}.json", content)


def one(kind: str, label: Any = 1, **more: Any) -> dict:
    return {"type": kind, "label_id": label, "group": 0, "attributes": {}, **more}


def test_datumaro(tmp_path: Path) -> None:
    rle = {"counts": [0, 3, 77], "size": [8, 10]}
    annotations = [
        one("mask", rle=rle, group=4), one("polygon", points=flat(SQUARE), group=4),
        one("polygon", 2, points=flat(SQUARE), group=4),
        one("mask", 2, rle=rle, attributes={"is_crowd": True}), one("ellipse", points=[0, 0, 9, 7]),
        one("mask", rle={"counts": [0, 3, 7], "size": [2, 5]}), one("mask", rle={"counts": [0, 3, 7], "size": [8, 10]}),
        one("polygon", None, points=flat(SQUARE)),
        one("polygon", 0, points=flat(SQUARE)),
        one("label"), one("bbox", bbox=[1, 2, 3, 4]), *(one("polygon", points=flat(bad)) for bad in BAD),
    ]  # fmt: skip
    labels = read(datumaro(tmp_path, *annotations))
    (image,) = labels.images
    assert [(each.class_name, each.mask.area, each.crowd) for each in image.objects[:3]] == [
        ("pit", 15, False), ("dust", 12, False), ("dust", 3, True),
    ]  # fmt: skip
    assert image.objects[3].mask.area == pytest.approx(math.pi * 4.5 * 3.5, rel=0.1)
    assert (image.name, image.subset, labels.class_names) == ("sub/a.png", "train", ["pit", "dust"])
    assert labels.skipped == {
        "masks of another size than their picture": 1, "malformed objects": 1, "objects without a label": 1,
        "objects named background": 1, "labels of whole pictures": 1,
        "boxes without a mask": 1, **BAD_REASONS,
    }  # fmt: skip


def test_a_picture_with_a_label_that_the_categories_do_not_have_is_left_out(tmp_path: Path) -> None:
    good, unknown = one("polygon", points=flat(SQUARE)), one("polygon", 9, points=flat(SQUARE))
    with pytest.raises(UserError, match="only 1 object of a label that the categories do not have"):
        read(datumaro(tmp_path, good, unknown))


def test_datumaro_without_a_size(tmp_path: Path) -> None:
    file = datumaro(tmp_path, one("polygon", points=flat(SQUARE)), size=None)
    with pytest.raises(UserError, match=r"a\.png: no such picture"):
        read(file)
    write_png(tmp_path / "annotations" / "a.png", np.zeros((8, 10)))
    assert read(file).images[0].width == 10
