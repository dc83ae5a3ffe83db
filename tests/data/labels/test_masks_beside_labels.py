"""MIT LabelMe's XML and Open Images' table, whose masks are PNGs beside them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from label_files import BAD, SQUARE, areas, read, write_png, write_text

from ppdet_ext.errors import UserError


# --- MIT LabelMe
def test_mit_labelme(tmp_path: Path) -> None:
    def thing(number: int, name: str, inner: str = "", part_of: str = "", points: Any = SQUARE) -> str:
        drawn_points = "".join(f"<pt><x>{x}</x><y>{y}</y></pt>" for x, y in points)
        shape = inner if "<segm>" in inner else f"{inner}<polygon>{drawn_points}</polygon>"
        return f"<object><name>{name}</name><id>{number}</id><parts><ispartof>{part_of}</ispartof></parts>{shape}</object>"

    far = [[7, 5], [9, 5], [9, 7], [7, 7]]
    objects = [
        thing(0, "car"), thing(1, "car", part_of="0", points=far), thing(2, "wheel", part_of="0", points=far),
        thing(3, "car", "<deleted>1</deleted>"), thing(4, "car", "<type>bounding_box</type>"), thing(5, "car", points=BAD[0]),
        thing(6, "bird", "<segm><mask>m.png</mask></segm>"), thing(7, "bird", "<segm><mask>none.png</mask></segm>"),
        thing(8, "bird", "<segm><mask>small.png</mask></segm>"), thing(9, "bird", "<segm><mask>../../m.png</mask></segm>"),
    ]  # fmt: skip
    size = "<imagesize><nrows>\n8</nrows><ncols>10\n</ncols></imagesize>"
    head = f"<folder>yard</folder><filename>\na.jpg\n</filename>{size}"
    file = write_text(tmp_path / "Annotations" / "yard" / "a.xml", f"<annotation>{head}{''.join(objects)}</annotation>")
    write_png(tmp_path / "Masks" / "yard" / "m.png", np.dstack([np.zeros((8, 10))] * 3 + [np.eye(8, 10) * 60]))
    write_png(tmp_path / "Masks" / "yard" / "small.png", np.ones((4, 5)))
    labels = read(file)
    assert areas(labels) == {"yard/a.jpg": [("car", 16), ("wheel", 4), ("bird", 8)]}
    assert labels.skipped == {
        "deleted objects": 1, "boxes without a mask": 1, "polygons of fewer than three points": 1,
        "masks whose PNG is missing": 1, "masks of another size than their picture": 1, "malformed objects": 1,
    }  # fmt: skip


# --- Open Images
def test_open_images(tmp_path: Path) -> None:
    rows = ["a_m_1.png,a,/m/1,1", "a_m_2.png,a,/m/2,2", "a_m_3.png,a,/m/1,3", "gone.png,b,/m/1,4"]
    table = write_text(tmp_path / "validation-masks.csv", "\n".join(["MaskPath,ImageID,LabelName,BoxID", *rows]))
    write_text(tmp_path / "class-descriptions-boxable.csv", "/m/1,Coin\n/m/3,Cup\n")
    write_png(tmp_path / "0" / "a_m_1.png", np.eye(4, 5) > 0)
    write_png(tmp_path / "1" / "a_m_2.png", np.eye(4, 5) * 255)
    write_png(tmp_path / "1" / "a_m_3.png", np.ones((2, 2)))
    labels = read(tmp_path)
    assert areas(labels) == {"a.jpg": [("Coin", 4), ("/m/2", 4)]}
    assert labels.skipped == {
        "masks whose PNG is missing": 1, "masks of another size than the first of their picture, which is not there": 1,
    }  # fmt: skip
    assert labels.images[0].subset == "val"
    picture = write_png(tmp_path / "pictures" / "a.jpg", np.zeros((8, 10)))
    resized = read(table, images=picture.parent)
    assert areas(resized) == {"a.jpg": [("Coin", 16), ("/m/2", 16), ("Coin", 80)]}
    write_text(tmp_path / "validation-masks.csv", "MaskPath,ImageID,LabelName\na_m_1.png,,/m/1\n")
    with pytest.raises(UserError, match="row 2 lacks one of"):
        read(table)
