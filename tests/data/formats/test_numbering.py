"""`Evidence`: real rows of competitions speak for their own numbering of the pixels, and against every other one."""

import csv
import logging
import re
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.data.formats.numbering import Evidence
from ppdet_ext.data.formats.rle_csv import RleCsv
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

ROWS = Path(__file__).parent / "rle"
COLUMNS = {"n": "{name}", "m": "{rle}"}
# Folder and file, mask column, (height, width), order.
REAL = {
    "carvana/train_masks_prefix.csv": ("rle_mask", (1280, 1918), "rows"),
    "understanding_clouds/train_prefix.csv": ("EncodedPixels", (1400, 2100), "columns"),
    "dsb2018/stage1_train_labels_excerpt.csv": ("EncodedPixels", (256, 320), "columns"),
    "hubmap_2021_2022/train_layout_2021.csv": ("encoding", (256, 320), "columns"),
    "sartorius/train_layout.csv": ("annotation", (256, 320), "rows"),
    "sennet_vessels/train_rles_layout.csv": ("rle", (256, 320), "rows"),
    "vesuvius/inklabels_rle_layout.csv": ("Predicted", (256, 320), "rows"),
}
MAJOR = {"rows": "row-major", "columns": "column-major"}


def texts_of(path: Path, column: str) -> list[str]:
    csv.field_size_limit(1 << 26)
    with path.open(newline="") as file:
        return [row[column] for row in csv.DictReader(file) if row[column] not in ("", "1 0")]


def evidence_of(texts: list[str], size: tuple[int, int], **numbering) -> Evidence:
    evidence = Evidence(RleCsv(COLUMNS, **numbering))
    for text in texts:
        try:
            evidence.layout.mask_of(text, *size)
            evidence.add(text, size)
        except UserError as fault:
            evidence.refuse(text, size, str(fault))
    return evidence


@pytest.mark.parametrize("name", REAL)
def test_the_order_of_real_rows(name: str) -> None:
    column, size, order = REAL[name]
    texts = texts_of(ROWS / name, column)
    evidence_of(texts, size, order=order).demand_agreement(name)
    (other,) = {"rows", "columns"} - {order}
    with pytest.raises(UserError, match=f"{name}: your masks look {MAJOR[order]}: order: {order}\\. Read as {MAJOR[other]}"):
        evidence_of(texts, size, order=other).demand_agreement(name)


def test_severstals_rows_tell_everything(root: Path) -> None:
    texts = texts_of(root / "tests/fixtures/severstal_rows.csv", "EncodedPixels")
    size = (256, 1600)
    evidence = evidence_of(texts, size)
    evidence.demand_agreement("steel")
    assert evidence.votes["rows"] == 0 < evidence.votes["columns"]
    from_zero = [Rle.from_kaggle(text, *size).to_kaggle(base=0) for text in texts]
    cases = [
        (evidence_of(texts, size, base=0), "numbered from 1: base: 1"),
        (evidence_of(from_zero, size), "numbered from 0: base: 0"),
        (evidence_of(texts, (1600, 256)), "If height and width are swapped, swap them instead"),
    ]
    for wrong, message in cases:
        with pytest.raises(UserError, match=re.escape(message)):
            wrong.demand_agreement("steel")


def test_the_documented_table_is_what_the_check_says(root: Path, capsys: pytest.CaptureFixture, monkeypatch) -> None:
    monkeypatch.setattr("sys.argv", ["numbering_table.py"])
    monkeypatch.setattr("sys.path", list(sys.path))
    try:
        runpy.run_path(str(root / "benchmarks/numbering_table.py"), run_name="__main__")
    finally:
        logging.disable(logging.NOTSET)
    table = capsys.readouterr().out
    assert table in (root / "dataset/README.md").read_text()
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    assert len(lines) == 14
    for shown, stated, told, other_order, *_ in lines:
        height, width = re.search(r"(\d+)×(\d+)$", shown).groups()
        order = stated.split(",")[0]
        # Wherever lines differ in length, the file tells its order, and is refused in the other one.
        assert told.split(",")[0] == ("undecided" if height == width else order)
        assert other_order.startswith("undecided" if height == width else f"refused: order: {order}")


def test_two_hanging_runs_tell_the_base_where_none_keeps_the_border() -> None:
    """Masks that stay a pixel short of the border say nothing, as iMaterialist's, unless some hang over it."""
    size = (9, 40)
    top, short = Rle.full(4, 8).place(0, 2, *size), Rle.full(3, 9).place(5, 20, *size)
    through = Rle.full(3, 2).place(6, 35, *size)
    for masks, told in (([top, through], 1), ([top], None), ([short], None)):
        texts = [mask.to_kaggle() for mask in masks]
        assert evidence_of(texts, size, base=0).told_base == told
    assert evidence_of([top.to_kaggle()], size).told_base is None
    assert evidence_of([top.to_kaggle(base=0)], size, base=0).told_base == 0
    assert evidence_of([short.to_kaggle(base=0), through.to_kaggle(base=0)], size, base=0).told_base is None
    assert evidence_of([top.to_kaggle(base=0)], size).told_base == 0


@pytest.mark.parametrize(("texts", "size", "said"), [
    (["1 3"], (8, 8), "undecided by the masks, and taken as said: order: columns, base: 1"),
    ([Rle.full(4, 20).place(5, 3, 9, 90).to_kaggle()], (9, 90), "the masks say order: columns, base: 1"),
    ([Rle.full(3, 20).place(3, 3, 9, 90).to_kaggle()], (9, 90),
     "the masks say order: columns; undecided by the masks, and taken as said: base: 1"),
    ([], (9, 90), ""),
])  # fmt: skip
def test_what_is_told_and_what_is_not_is_said(texts: list[str], size: tuple[int, int], said: str) -> None:
    assert evidence_of(texts, size).summary() == said


def test_relative_offsets_are_told_from_absolute_ones() -> None:
    texts = texts_of(ROWS / "siim_pneumothorax/stage_2_layout.csv", "EncodedPixels")
    texts = [text for text in texts if text != "-1"] * 2
    evidence = evidence_of(texts, (1024, 1024))
    assert evidence.remedy().startswith("They can be read with base: 0, relative: true")
    with pytest.raises(UserError, match=f"{len(texts)} of {len(texts)} masks cannot be read .* Set base: 0, relative: true"):
        evidence.demand_agreement("siim")
    evidence_of(texts, (1024, 1024), base=0, relative=True).demand_agreement("siim")


def test_a_start_at_0_and_a_wrong_size_get_their_remedy() -> None:
    assert "base: 0" in evidence_of(["0 4"], (10, 20)).remedy()
    assert evidence_of(["150 4 199 4"], (10, 20)).remedy().endswith("Check height and width.")
    assert evidence_of(["1 4 x"], (10, 20)).remedy() is None
    assert evidence_of(["1 4"], (10, 20)).remedy() is None


@st.composite
def blobs(draw: st.DrawFn) -> tuple[list[Rle], tuple[int, int]]:
    """Some ellipses in an image that is not square."""
    height, width = draw(st.sampled_from([(40, 90), (90, 40), (64, 80), (33, 200)]))
    y, x = np.mgrid[:height, :width]
    found = []
    for _ in range(draw(st.integers(1, 5))):
        cy, cx = draw(st.integers(0, height - 1)), draw(st.integers(0, width - 1))
        ry, rx = draw(st.integers(2, 15)), draw(st.integers(2, 15))
        found.append(Rle.from_bitmap(((y - cy) / ry) ** 2 + ((x - cx) / rx) ** 2 <= 1))
    return found, (height, width)


@settings(max_examples=80)
@given(blobs(), st.sampled_from([0, 1]), st.sampled_from(["rows", "columns"]), st.booleans())
def test_what_is_written_never_contradicts_itself(drawn, base: int, order: str, relative: bool) -> None:
    masks, size = drawn
    form = RleCsv(COLUMNS, base=base, order=order, relative=relative)
    evidence_of([form.text_of(mask) for mask in masks], size, base=base, order=order, relative=relative).demand_agreement("x")
