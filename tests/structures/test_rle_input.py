"""Rle and input from outside: real rows, malformed strings, edge sizes."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as mask_utils

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle


def rows(path: Path) -> list[dict]:
    with open(path, newline="") as file:
        return [row for row in csv.DictReader(file) if row["EncodedPixels"].strip()]


def decode(text: str, height: int, width: int) -> np.ndarray:
    flat = np.zeros(height * width, np.uint8)
    values = np.array(text.split(), np.int64)
    for start, length in zip(values[0::2] - 1, values[1::2]):
        flat[start : start + length] = 1
    return flat.reshape((height, width), order="F")


def test_real_rows_in_the_repository(root: Path) -> None:
    found = rows(root / "tests/fixtures/severstal_rows.csv")
    assert len(found) >= 8
    for row in found:
        rle = Rle.from_kaggle(row["EncodedPixels"], 256, 1600)
        assert rle.to_kaggle() == row["EncodedPixels"]
        assert rle.to_coco() == mask_utils.encode(np.asfortranarray(decode(row["EncodedPixels"], 256, 1600)))
        parts = rle.components()
        assert sum(part.area for part in parts) == rle.area
        assert Rle.merge(parts) == rle


@pytest.mark.parametrize("name", ["train.csv", "train_old_format.csv"])
def test_every_real_row_survives_the_round_trip(shared: Path, name: str) -> None:
    found = rows(shared / "data/severstal" / name)
    assert len(found) > 200
    for row in found:
        rle = Rle.from_kaggle(row["EncodedPixels"], 256, 1600)
        assert rle.to_kaggle() == row["EncodedPixels"]
        assert Rle.from_coco(rle.to_coco(text=True)) == rle


def test_large_real_rows(shared: Path) -> None:
    for row in rows(shared / "data/imaterialist/train_sample.csv"):
        size = int(row["Height"]), int(row["Width"])
        rle = Rle.from_kaggle(row["EncodedPixels"], *size)
        assert rle.to_kaggle() == row["EncodedPixels"]
        assert rle.to_coco() == mask_utils.encode(np.asfortranarray(decode(row["EncodedPixels"], *size)))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("1 3 5", "odd number of values (3)"),
        ("1 3.5", "'3.5' in EncodedPixels is not an integer"),
        ("1 x", "'x' in EncodedPixels is not an integer"),
        ("1 ٣", "not an integer"),
        ("1,3", "'1,3' in EncodedPixels is not an integer"),
        ("nan", "not an integer"),
        ("1 -3", "'-3' in EncodedPixels is negative"),
        ("1 0", "run 1 of EncodedPixels ('1 0') has no pixels"),
        ("1 2 5 0 7 1", "run 2 of EncodedPixels ('5 0') has no pixels"),
        ("0 3", "run 1 of EncodedPixels ('0 3') starts before pixel 1"),
        ("1 3 3 2", "run 2 of EncodedPixels ('3 2') overlaps"),
        ("1 3 1 3", "run 2 of EncodedPixels ('1 3') overlaps"),
        ("9 3 1 2", "run 2 of EncodedPixels ('1 2') is not in ascending order"),
        ("20 2", "run 1 of EncodedPixels ('20 2') reaches beyond the 20 pixels"),
        ("21 1", "reaches beyond the 20 pixels"),
        ("1 99999999999999999999", "reaches beyond the 20 pixels"),
        ("99999999999999999999 1", "reaches beyond the 20 pixels"),
        ("2 9223372036854775807 3 9223372036854775807", "reaches beyond the 20 pixels"),
    ],
)
def test_malformed_kaggle_strings_are_named(text: str, fault: str) -> None:
    with pytest.raises(UserError) as error:
        Rle.from_kaggle(text, 4, 5, image="a.jpg", row=7)
    assert str(error.value).startswith("image a.jpg, row 7: ")
    assert fault in str(error.value)


@pytest.mark.parametrize("text", ["", " ", "\n", "  \t"])
def test_blank_is_empty(text: str) -> None:
    assert Rle.from_kaggle(text, 4, 5) == Rle.empty(4, 5)
    assert Rle.empty(4, 5).to_kaggle() == ""


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("1 3 4 2", "1 5"),
        ("1 3 4 2 6 15", "1 20"),
        ("2 1 3 1 5 1", "2 2 5 1"),
        ("1 1 2 1 3 1 20 1", "1 3 20 1"),
        (" 1  3\n", "1 3"),
        ("01 3", "1 3"),
    ],
)
def test_touching_runs_and_loose_spacing_are_canonicalised(text: str, canonical: str) -> None:
    assert Rle.from_kaggle(text, 4, 5).to_kaggle() == canonical
    assert Rle.from_kaggle(text, 4, 5) == Rle.from_bitmap(decode(text, 4, 5))


@pytest.mark.parametrize(
    ("obj", "fault"),
    [
        ({"size": [2, 3]}, "'counts' is missing"),
        ({"counts": b"6"}, "'size' is missing"),
        ({"size": [2, 3], "counts": [5]}, "sum to 5, the mask has 6"),
        ({"size": [2, 3], "counts": [7, -1]}, "count -1 is negative"),
        ({"size": [2, 3], "counts": b"\xff"}, "not a compressed RLE"),
        ({"size": [2, 3], "counts": ""}, "not a compressed RLE"),
        ({"size": [2, 3], "counts": "P" * 5}, "not a compressed RLE"),
        ({"size": [2, 3], "counts": b"P" * 20 + b"0"}, "a number is too long"),
        ({"size": [2, 3], "counts": [2**63]}, "not a COCO RLE"),
        ({"size": [2, 3], "counts": [2**62, 2**62, 2**62, 2**62, 6]}, "the mask has 6"),
        ({"size": 6, "counts": [6]}, "not a COCO RLE"),
        ([[0, 0, 1, 1]], "not a COCO RLE"),
    ],
)
def test_malformed_coco_dicts_are_named(obj: dict, fault: str) -> None:
    with pytest.raises(UserError, match="not a COCO RLE") as error:
        Rle.from_coco(obj)
    assert fault in str(error.value)


@pytest.mark.parametrize(("text", "base", "relative", "fault"), [
    ("0 3", 1, False, "starts before pixel 1"),
    ("-1 3", 0, False, "negative"),
    ("0 3 2 9", 0, False, r"run 2 of EncodedPixels \('2 9'\) overlaps"),
    ("0 3 2 9", 0, True, "reaches beyond the 12 pixels"),
    ("5 3 9223372036854775807 9 9223372036854775807 9", 0, True, "run 2 .* reaches beyond"),
    ("2 0 1 1", 0, True, "has no pixels"),
    ("1 3 2 8", 1, True, r"run 2 of EncodedPixels \('2 8'\) reaches beyond the 12 pixels"),
])  # fmt: skip
def test_faults_of_other_numberings(text: str, base: int, relative: bool, fault: str) -> None:
    with pytest.raises(UserError, match=fault):
        Rle.from_kaggle(text, 3, 4, base=base, relative=relative)


@given(st.lists(st.integers(0, 9), max_size=8), st.sampled_from([0, 1]), st.booleans())
def test_any_numbers_are_a_mask_or_a_fault(values: list[int], base: int, relative: bool) -> None:
    text = " ".join(map(str, values))
    try:
        mask = Rle.from_kaggle(text, 3, 4, base=base, relative=relative)
    except UserError:
        return
    assert mask.area == sum(values[1::2])


@pytest.mark.parametrize("counts", [[0, 2, 0, 3, 1], [0, 5, 1, 0], [0, 2, 0, 0, 0, 3, 1, 0, 0]])
def test_zero_counts_are_joined_away(counts: list[int]) -> None:
    assert Rle.from_coco({"size": [2, 3], "counts": counts}).to_kaggle() == "1 5"


@pytest.mark.parametrize(
    "polygon", [[0, 0, 1, 1], [0, 0, 1, 1, 2], [0, 0, 1, float("nan"), 2, 2], [], [0, 0, 1e30, 0, 2, 2], [0, 0, 9, 9] * 150_000]
)
def test_malformed_polygons_are_refused(polygon: list[float]) -> None:
    with pytest.raises(UserError, match="polygon 1"):
        Rle.from_polygons([[0, 0, 4, 0, 4, 4], polygon], 8, 8)


def test_polygons_rasterise_as_in_coco() -> None:
    star = [10.2, 1.3, 14.8, 18.9, 1.1, 7.7, 18.6, 6.4, 4.4, 19.2]
    expected = mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects([star, [0, 0, 3, 0, 3, 3]], 20, 20)))
    assert np.array_equal(Rle.from_polygons([star, [0, 0, 3, 0, 3, 3]], 20, 20).to_bitmap(), expected)
    assert Rle.from_polygons([], 20, 20) == Rle.empty(20, 20)


def test_empty_and_full() -> None:
    empty, full = Rle.empty(3, 4), Rle.full(3, 4)
    assert (empty.area, full.area) == (0, 12)
    assert not empty
    assert full.box == (0, 0, 4, 3)
    assert empty.box == (0, 0, 0, 0)
    assert empty.components() == empty.to_polygons() == []
    assert empty.resize(30, 2) == Rle.empty(30, 2)
    assert full.fill_holes() == full
    assert full.crop(1, 1, 1, 3).size == (0, 2)
    assert full.crop(1, 1, 1, 3).to_bitmap().shape == (0, 2)
    assert Rle.empty(0, 2).place(1, 1, 3, 4) == empty


def test_immutable_and_readable() -> None:
    rle = Rle.from_kaggle("1 2", 3, 4)
    with pytest.raises(AttributeError):
        rle.height = 5
    assert repr(rle) == "Rle(3x4, area=2, box=(0.0, 0.0, 1.0, 2.0))"


def test_wrong_use_is_refused() -> None:
    rle = Rle.full(3, 4)
    for call in (
        lambda: rle.crop(0, 0, 4, 4),
        lambda: rle.crop(2, 0, 1, 4),
        lambda: rle.place(0, 1, 3, 4),
        lambda: Rle.from_window(np.ones((3, 4), bool), 1, 0, 3, 4),
        lambda: rle.components(connectivity=6),
        lambda: Rle.merge([]),
        lambda: rle.iou(Rle.full(4, 3)),
        lambda: Rle.merge([rle, Rle.full(4, 3)]),
        lambda: Rle.from_bitmap(np.zeros(3)),
        lambda: Rle.from_runs([1, 0], [1, 1], 3, 4),
        lambda: Rle.from_runs([11], [2], 3, 4),
        lambda: Rle.from_runs([3], [0], 3, 4),
        lambda: Rle.from_runs([0, 1], [2, 1], 3, 4),
    ):
        with pytest.raises(ValueError):
            call()


def test_iou_matrix_without_masks() -> None:
    assert Rle.iou_matrix([], [Rle.full(2, 2)]).shape == (0, 1)
    assert Rle.iou_matrix([Rle.full(2, 2)] * 2, []).shape == (2, 0)


def test_sizes_from_numpy_become_json() -> None:
    height, width = np.array([3, 4])
    for rle in (Rle.empty(height, width), Rle.from_kaggle("1 2", height, width), Rle.full(2, 2).place(0, 0, height, width)):
        assert json.loads(json.dumps(rle.to_coco(text=True)))["size"] == [3, 4]
