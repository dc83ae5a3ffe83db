"""Every competition's submission: written, checked, and read back by the preset of that name, exactly."""

import base64
import csv
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pycocotools import mask as mask_utils

from ppdet_ext.commands.submit import find_format, known_formats, usual_format
from ppdet_ext.data.datasets import RleCsvDataSet
from ppdet_ext.data.formats.rle_presets import PRESETS
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle
from ppdet_ext.submission import Format, check_table, rows_of, write_table

# Those whose pictures are in sub-folders: a picture, and what it is called in the CSV.
NESTED = {
    "dsb2018": ("stage1_test/ab/images/ab.png", "ab"),
    "siim": ("x/1.2.3.png", "1.2.3"),
    "uw_madison": ("case1/case1_day2/scans/slice_0003_8_5_1.50_1.50.png", "case1_day2_slice_0003"),
    "vesuvius": ("a/ir.png", "a"),
    "sennet": ("kidney_2/images/0004.tif", "kidney_2_0004"),
}
# Of the others the template's name is the preset's; imaterialist's presets have columns that submissions have not.
PRESET_OF = {
    "severstal_stage1": "severstal",
    "severstal_stage2": "severstal",
    "imaterialist_2019": None,
    "imaterialist_2020": None,
}
HEIGHT, WIDTH = 5, 8


def detections_of(objects: list[tuple[int, int]], count: int) -> Detections:
    """Detections of these labels, modulo the number of classes, and pixels as bits; scores fall."""
    masks = [Rle.from_bitmap(np.array([bits >> i & 1 for i in range(40)], bool).reshape(HEIGHT, WIDTH)) for _, bits in objects]
    labels = [label % count for label, _ in objects]
    return Detections.of_masks(HEIGHT, WIDTH, masks, labels, [0.9 - i / 10 for i in range(len(masks))], [()] * len(masks))


def classes_of(name: str) -> tuple[list[str], list[int]]:
    """Names and ids of a template's classes; one where rows do not tell a class."""
    preset = PRESETS.get(PRESET_OF.get(name, name) or "")
    names = list(preset.class_names if preset else ()) or ["shirt", "skirt", "shoe"]
    first = preset.first_id if preset else 0
    names = names if find_format(name).class_field else names[:1]
    return names, [first + i for i in range(len(names))]


def plain_masks(objects: list[tuple[int, int]], form: Format, count: int) -> list[tuple[int, np.ndarray]]:
    """(label, bitmap) of each row's masks by numpy alone: resized, without the pixels of better ones, united."""
    height, width = form.mask_size(HEIGHT, WIDTH)
    taken: dict[int, np.ndarray] = {}
    found = []
    for label, bits in objects:
        bitmap = np.array([bits >> i & 1 for i in range(40)], np.uint8).reshape(HEIGHT, WIDTH)
        bitmap = cv2.resize(bitmap, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)
        group = label % count if form.overlaps == "same_class" else 0
        before = taken.get(group, np.zeros_like(bitmap))
        taken[group] = before | bitmap
        found.append((label % count, bitmap if form.overlaps == "keep" else bitmap & ~before))
    found = [(label, bitmap) for label, bitmap in found if bitmap.any()]
    if form.rows == "instance" or form.mask_field == "predictions":
        return found
    united: dict[int, np.ndarray] = {}
    for label, bitmap in found:
        key = label if form.rows == "class" else 0
        united[key] = united.get(key, np.zeros_like(bitmap)) | bitmap
    return sorted(united.items(), key=lambda pair: pair[0])


def plain_decoded(text: str, form: Format) -> list[np.ndarray]:
    """The bitmaps of a cell, decoded pixel by pixel as the template describes it."""
    height, width = form.mask_size(HEIGHT, WIDTH)
    if form.mask_field == "predictions":
        counts = [zlib.decompress(base64.b64decode(mask)) for mask in text.split()[2::3]]
        return [mask_utils.decode({"size": [height, width], "counts": one}).astype(bool) for one in counts]
    if text in ("", *form.blank):
        return []
    flat, end = np.zeros(height * width, bool), None
    numbers = list(map(int, text.split()))
    for start, length in zip(numbers[::2], numbers[1::2]):
        first = end + start if form.relative and end is not None else start - form.base
        end = first + length
        flat[first:end] = True
    return [flat.reshape(height, width) if form.order == "rows" else flat.reshape(width, height).T]


@pytest.mark.parametrize("name", known_formats())
@settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=st.lists(st.tuples(st.integers(0, 18), st.integers(1, 2**40 - 1)), max_size=4))
def test_what_is_written_reads_back(tmp_path: Path, name: str, objects: list[tuple[int, int]]) -> None:
    """Of every template: by plain numpy, and by the data set of its preset."""
    form, (names, ids) = find_format(name), classes_of(name)
    file, shown = NESTED.get(name, ("p.jpg", "p.jpg" if form.image_suffix == "keep" else "p"))
    images = [(file, detections_of(objects, len(names)))]
    path = tmp_path / "s.csv"
    write_table(path, form, images, ids, names)
    check_table(path, form, images, ids, names)
    expected = plain_masks(objects, form, len(names))
    with path.open(newline="") as opened:
        cells = [row[form.column_of(form.mask_field)] for row in csv.DictReader(opened)]
    decoded = [bitmap for cell in cells for bitmap in plain_decoded(cell, form)]
    assert len(decoded) == len(expected)
    assert all((one == bitmap).all() for one, (_, bitmap) in zip(decoded, expected))
    if len(cells) and (objects or not isinstance(form.empty, dict) or "ClassId" not in form.empty):
        check_read(path, name, shown, expected)


def check_read(path: Path, name: str, shown: str, expected: list[tuple[int, np.ndarray]]) -> None:
    """The data set of the template's preset has these masks."""
    form, (names, ids) = find_format(name), classes_of(name)
    preset = PRESET_OF.get(name, name)
    described = {"preset": preset} if preset else {"columns": {column.header: column.text for column in form.cells}}
    height, width = form.mask_size(HEIGHT, WIDTH)
    (record,) = RleCsvDataSet(
        str(path.parent), anno_path=path.name, check_images="none", cache=False, class_names=names, category_ids=ids,
        height=height, width=width, **described,
    ).records  # fmt: skip
    assert record.name == shown
    read = list(zip(record.labels.tolist(), record.masks))
    if form.rows != "instance" and form.mask_field != "predictions":
        # A row of a class or an image comes back as its connected parts.
        labels = sorted(set(record.labels.tolist()))
        read = [(label, Rle.merge([mask for own, mask in read if own == label])) for label in labels]
    assert read == [(label, Rle.from_bitmap(bitmap)) for label, bitmap in expected]


def test_blank_rows_are_the_competitions_own(tmp_path: Path) -> None:
    nothing = Detections.empty(HEIGHT, WIDTH)
    blanks = {"siim": "-1", "sennet": "1 0", "contrails": "-", "tgs": "", "airbus": "", "sartorius": ""}
    for preset, blank in blanks.items():
        form = find_format(preset)
        write_table(tmp_path / "s.csv", form, [("a_1.png", nothing)], [1], ["x"])
        check_table(tmp_path / "s.csv", form, [("a_1.png", nothing)], [1], ["x"])
        assert (tmp_path / "s.csv").read_text().splitlines()[1].split(",")[-1] == blank


def test_names_of_classes_and_masks_at_another_size(tmp_path: Path) -> None:
    found = detections_of([(1, 2**40 - 1)], 4)
    names = list(PRESETS["clouds"].class_names)
    summary = write_table(tmp_path / "s.csv", find_format("clouds"), [("a.jpg", found)], [1, 2, 3, 4], names)
    lines = (tmp_path / "s.csv").read_text().splitlines()
    assert lines[1:3] == ["a.jpg_Fish,", f"a.jpg_Flower,1 {350 * 525}"]
    assert (summary.rows, summary.masks) == (4, 1)
    with pytest.raises(UserError, match="Image_Label cannot hold the class 'a_b'"):
        find_format("clouds").class_texts([1], ["a_b"])
    with pytest.raises(UserError, match="predictions cannot hold a class with a blank"):
        find_format("oid").class_texts([1], ["a b"])


def test_no_overlaps_where_the_rules_say_so(tmp_path: Path) -> None:
    found = detections_of([(0, 2**20 - 1), (0, 2**30 - 1)], 1)
    for preset in ("airbus", "dsb2018", "sartorius"):
        first, second = (row.mask for row in rows_of("a.png", found, find_format(preset), [1]))
        assert (first.area, second.area, first.intersect(second).area) == (20, 10, 0)


def test_the_format_is_that_of_the_preset(tmp_path: Path) -> None:
    assert usual_format({"TestDataset": RleCsvDataSet("x", preset="siim")}) == "siim"
    (tmp_path / "train.csv").write_text("id,rle_mask\n")
    assert usual_format({"TrainDataset": RleCsvDataSet(str(tmp_path))}) == "tgs"
    assert usual_format({"TrainDataset": RleCsvDataSet("x", preset="severstal")}) == "severstal_stage2"
