"""Submissions in other numberings of the pixels: written, read back, and what their cells are."""

from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.data.formats.submission_format import Format
from ppdet_ext.data.formats.table import check_table, write_table
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle

MASK = Rle.full(2, 2).place(1, 0, 4, 6)


@pytest.mark.parametrize(("options", "cell"), [
    ({}, "2 2 6 2"),
    ({"base": 0}, "1 2 5 2"),
    ({"order": "rows"}, "7 2 13 2"),
    ({"order": "rows", "base": 0, "relative": True}, "6 2 4 2"),
])  # fmt: skip
def test_other_numberings(tmp_path: Path, options: dict, cell: str) -> None:
    form = Format({"id": "{name}", "rle": "{rle}"}, empty={"rle": "-1"}, **options)
    found = Detections(4, 6, np.array([MASK.box], np.float32), np.ones(1, np.float32), np.zeros(1, np.int64), [MASK])
    images = [("a.jpg", found), ("b.jpg", Detections.empty(4, 6))]
    write_table(tmp_path / "s.csv", form, images, [1])
    check_table(tmp_path / "s.csv", form, images, [1])
    assert (tmp_path / "s.csv").read_text() == f"id,rle\na.jpg,{cell}\nb.jpg,-1\n"


def test_an_unknown_numbering_names_the_template() -> None:
    with pytest.raises(UserError, match=r"mine\.yml: base: 2 is not one of 0, 1"):
        Format.from_tree({"columns": {"id": "{name}", "rle": "{rle}"}, "base": 2}, "mine.yml")
