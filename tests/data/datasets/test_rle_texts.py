"""Masks in other texts than run lengths: OID's base64, triples of predictions, polygons of JSON lines."""

import base64
import json
import re
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ppdet_ext.data.datasets import RleCsvDataSet
from ppdet_ext.data.formats.mask_texts import decode_oid, decode_polygons, encode_oid
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

ROWS = Path(__file__).parents[1] / "formats/rle"


@pytest.mark.parametrize(("file", "preset", "names"), [
    ("hpa_2021_submission.csv", "hpa", None),
    ("open_images_2019_submission.csv", "oid", [f"/m/01{i}yrx" for i in range(6)]),
    ("hubmap_2023_submission.csv", "hubmap_2023", None),
])  # fmt: skip
def test_predictions_in_triples(file: str, preset: str, names: list[str] | None) -> None:
    path = ROWS / "oid_base64" / file
    rows = json.loads(path.with_name("expected.json").read_text())["rows"]
    options = {"anno_path": file, "check_images": "none", "cache": False, "preset": preset, "class_names": names}
    if preset == "hubmap_2023":
        options |= {"class_names": ["vessel"], "category_ids": [0]}
    dataset = RleCsvDataSet(str(path.parent), **options)
    (record,) = (record for record in dataset.records if record.name == "a6515d730778")
    found = [(mask.area, [int(mask.box[0]), int(mask.box[1])]) for mask in record.masks]
    assert found == [(row["area"], row["bbox"][:2]) for row in rows]
    labels = {"hpa": [row["cls"] for row in rows], "oid": list(range(6)), "hubmap_2023": [0] * 6}
    assert record.labels.tolist() == labels[preset]
    others = RleCsvDataSet(str(path.parent), min_score=0.65, **options).records
    assert [len(other.masks) for other in others if other.name == record.name] == [3]


@pytest.mark.parametrize(("text", "message"), [
    ("0 0.9", "2 parts are no triples"),
    ("0 0.9 eNo", "PredictionString has no base64(zlib(COCO counts))"),
    ("0 high eNqLj4wztE4xN/Iz9jXyMzQAAX8jf0M/Yz9DPyO/hLg8AwCbagjq", "1 row whose score is no number: x 'high' (row 2)"),
    ("77 0.9 eNqLj4wztE4xN/Iz9jXyMzQAAX8jf0M/Yz9DPyO/hLg8AwCbagjq", "1 row of an unknown class"),
])  # fmt: skip
def test_bad_predictions_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(f"ID,ImageWidth,ImageHeight,PredictionString\nx,320,256,{text}\n")
    dataset = RleCsvDataSet(str(tmp_path), anno_path="x.csv", check_images="none", cache=False)
    with pytest.raises(UserError, match=re.escape(message)):
        dataset.load()


@pytest.mark.parametrize(("text", "message"), [
    ('{"id": "a", "annotations": [{"type": "unsure"}]}', "1 annotation without type or coordinates: a (line 1)"),
    ('{"id": "a", "annotations": [{"type": "unsure", "coordinates": [[[1]]]}]}', "no polygon [[[x, y], …]]"),
    ('{"id": "a", "annotations": 3}', "1 line without id or a list of annotations: line 1"),
    ('{"id": "a", "annotations": []}\n[1]', "line 2 is no object"),
    ('{"id": "a", "annotations": []}\n{', "not JSON lines"),
])  # fmt: skip
def test_bad_polygons_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.jsonl").write_text(text)
    dataset = RleCsvDataSet(str(tmp_path), anno_path="x.jsonl", check_images="none", cache=False, preset="hubmap_2023")
    with pytest.raises(UserError, match=re.escape(message)):
        dataset.load()


def test_a_bomb_of_zlib_is_refused() -> None:
    text = base64.b64encode(zlib.compress(bytes(10**7))).decode()
    with pytest.raises(UserError, match="more than a mask of 4x6 can hold"):
        decode_oid(text, 4, 6)


@given(st.integers(0, 2**30 - 1))
def test_oid_texts_read_back(bits: int) -> None:
    mask = Rle.from_bitmap(np.array([bits >> i & 1 for i in range(30)], bool).reshape(5, 6))
    assert decode_oid(encode_oid(mask), 5, 6) == mask


def test_a_polygons_other_rings_are_holes() -> None:
    outer, hole = [[0, 0], [10, 0], [10, 10], [0, 10]], [[2, 2], [5, 2], [5, 5], [2, 5]]
    whole, holed = (decode_polygons(json.dumps(rings), 12, 12) for rings in ([outer], [outer, hole]))
    assert whole.area - holed.area == decode_polygons(json.dumps([hole]), 12, 12).area > 0
