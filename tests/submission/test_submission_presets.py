"""Every competition's submission: written, checked, and read back by the preset of that name, exactly."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ppdet_ext.commands.submit import find_format, known_formats, usual_format
from ppdet_ext.data.datasets import RleCsvDataSet
from ppdet_ext.data.formats.rle_presets import PRESETS
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle
from ppdet_ext.submission import check_table, rows_of, write_table

# Those whose pictures are in sub-folders: a picture, and what it is called in the CSV.
NESTED = {
    "dsb2018": ("stage1_test/ab/images/ab.png", "ab"),
    "siim": ("x/1.2.3.png", "1.2.3"),
    "uw_madison": ("case1/case1_day2/scans/slice_0003_8_5_1.50_1.50.png", "case1_day2_slice_0003"),
    "vesuvius": ("a/ir.png", "a"),
    "sennet": ("kidney_2/images/0004.tif", "kidney_2_0004"),
}
SHARED_COLUMNS = sorted(set(known_formats()) & set(PRESETS) - {"imaterialist_2019", "imaterialist_2020"})
HEIGHT, WIDTH = 5, 8


def detections_of(objects: list[tuple[int, int]], count: int) -> Detections:
    """Detections of these labels, modulo the number of classes, and pixels as bits; scores fall."""
    masks = [Rle.from_bitmap(np.array([bits >> i & 1 for i in range(40)], bool).reshape(HEIGHT, WIDTH)) for _, bits in objects]
    labels = [label % count for label, _ in objects]
    return Detections.of_masks(HEIGHT, WIDTH, masks, labels, [0.9 - i / 10 for i in range(len(masks))], [()] * len(masks))


@pytest.mark.parametrize("preset", SHARED_COLUMNS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(objects=st.lists(st.tuples(st.integers(0, 18), st.integers(1, 2**40 - 1)), max_size=4))
def test_what_is_written_reads_back(tmp_path: Path, preset: str, objects: list[tuple[int, int]]) -> None:
    names = list(PRESETS[preset].class_names) or ["/m/01", "/m/02"]
    form = find_format(preset)
    form.size = "full"
    ids = [PRESETS[preset].first_id + i for i in range(len(names))]
    if form.class_field is None:
        names, ids = names[:1], ids[:1]
    file, shown = NESTED.get(preset, ("p.jpg", "p.jpg" if form.image_suffix == "keep" else "p"))
    images = [(file, detections_of(objects, len(names)))]
    path = tmp_path / "s.csv"
    write_table(path, form, images, ids, names)
    check_table(path, form, images, ids, names)
    dataset = RleCsvDataSet(
        str(tmp_path), preset=preset, anno_path="s.csv", check_images="none", cache=False, class_names=names, category_ids=ids,
        height=HEIGHT, width=WIDTH,
    )  # fmt: skip
    rows = rows_of(*images[0], form, ids, names)
    written = [mask for row in rows for mask in (row.parts or ([row.mask] if row.mask else []))]
    if not rows:
        with pytest.raises(UserError, match="the file has no rows"):
            dataset.load()
        return
    (record,) = dataset.records
    assert record.name == shown
    if form.rows == "instance" or form.mask_field == "predictions":
        assert record.masks == written
        return
    # A row of a class or an image comes back as its connected parts.
    read = [
        Rle.merge([record.masks[i] for i in np.flatnonzero(record.labels == k)]) for k in sorted(set(record.labels.tolist()))
    ]
    assert read == written


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
