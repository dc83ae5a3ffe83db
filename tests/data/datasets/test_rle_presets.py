"""Presets: every competition's rows by name and by header alone, against what plain numpy decoded; how names find pictures."""

import csv
import json
import logging
import re
from pathlib import Path

import pytest
import yaml
from PIL import Image
from tiny_data import write_jpeg

from ppdet_ext.data.datasets import RleCsvDataSet, SteelDataSet
from ppdet_ext.data.formats.rle_csv import RleCsv
from ppdet_ext.data.formats.rle_presets import guess_preset
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

ROWS = Path(__file__).parents[1] / "formats/rle"
# Folder -> file, preset, size where neither preset nor columns tell it.
FILES = {
    "airbus_ship": ("train_ship_segmentations_v2.csv", "airbus", None),
    "carvana": ("train_masks_prefix.csv", "carvana", None),
    "contrails": ("submission.csv", "contrails", None),
    "dsb2018": ("stage1_train_labels_excerpt.csv", "dsb2018", (256, 320)),
    "hubmap_2021_2022": ("train_layout_2021.csv", "hubmap_2021", (256, 320)),
    "sartorius": ("train_layout.csv", "sartorius", None),
    "sennet_vessels": ("train_rles_layout.csv", "sennet", (256, 320)),
    "siim_pneumothorax": ("train-rle.csv", "siim", None),
    "tgs_salt": ("submission_rows.csv", "tgs", None),
    "understanding_clouds": ("train_prefix.csv", "clouds", None),
    "uw_madison_gi": ("train_rows.csv", "uw_madison", (266, 266)),
    "vesuvius": ("inklabels_rle_layout.csv", "vesuvius", (256, 320)),
}


def check(dataset: RleCsvDataSet, expected: list[dict]) -> None:
    """Every row of the data set's file has the area and box that plain numpy found."""
    found: dict[tuple[str, str], list[Rle]] = {}
    for record in dataset.records:
        for label, mask in zip(record.labels.tolist(), record.masks):
            found.setdefault((record.name, dataset.class_names[label]), []).append(mask)
    assert {record.name for record in dataset.records} == {row["image"] for row in expected}
    whole = dataset.layouts[0].rows != "instance"
    only = dataset.class_names[0]
    for row in expected:
        masks = found.get((row["image"], row.get("cls", only)), [])
        if not row["area"]:
            assert not masks
            continue
        mask = Rle.merge(masks) if whole else masks.pop(0)
        x1, y1, x2, y2 = map(int, mask.box)
        assert (mask.area, [x1, y1, x2 - x1, y2 - y1]) == (row["area"], row["bbox"])
        assert not whole or len(masks) == row["components8"]


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("folder", FILES)
def test_rows_of_a_competition(folder: str, named: bool, caplog: pytest.LogCaptureFixture) -> None:
    file, preset, size = FILES[folder]
    path = ROWS / folder / file
    rows = json.loads(path.with_name("expected.json").read_text())["rows"]
    given = {"height": size[0], "width": size[1]} if size else {}
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        dataset = RleCsvDataSet(
            str(path.parent), anno_path=file, check_images="none", cache=False, preset=preset if named else None, **given
        )
        check(dataset, [row for row in rows if row.get("file", file) == file])
    assert (f"has the columns of preset: {preset}" in caplog.text) is not named


def test_severstals_rows(root: Path) -> None:
    assert guess_preset(str(root / "tests/fixtures/severstal_rows.csv")) == "severstal"
    dataset = RleCsvDataSet(
        str(root / "tests/fixtures"), anno_path="severstal_rows.csv", check_images="none", cache=False, preset="severstal"
    )
    assert dataset.class_names == ["defect_1", "defect_2", "defect_3", "defect_4"]
    assert sum(len(record.masks) for record in dataset.records) == 63


@pytest.mark.parametrize(("text", "preset"), [
    ("ImageId,EncodedPixels\na.jpg,1 3\n", "airbus"),
    ("ImageId,EncodedPixels\na,-1\n", "siim"),
    ("ImageId, EncodedPixels\na, 400 3 20 4\n", "siim"),
    (f"ImageId,EncodedPixels\n{'0a' * 32},1 3\n", "dsb2018"),
    ("id,rle\nkidney_2_0000,1 0\n", "sennet"),
    ("id,rle\n10044,5 3\n", "hubmap_2022"),
    ("id,predicted\n2f6ecfcdf,\n", "hubmap_2021"),
    ("id,predicted\n7ae19de7bc2a,\n", "sartorius"),
    ("id,class,predicted\ncase1_day0_slice_0001,stomach,\n", "uw_madison"),
    ("ImageId,EncodedPixels,Height,Width,ClassId\na.jpg,1 3,4,6,3\n", "imaterialist_2019"),
    ("ImageId,EncodedPixels,Height,Width,ClassId,AttributesIds\na,1 3,4,6,3,\n", "imaterialist_2020"),
    ("image,rle_mask\n1,1 3\n", "picsart"),
    ("subject,img,pixels\n1,2,1 3\n", "ultrasound"),
    ("img,pixels\n2,\n", "ultrasound"),
    ("ImageId,EncodedPixels\n0RZDK210BSMWAA6467LU_Slice_0,1 3\n", "atria"),
])  # fmt: skip
def test_header_and_rows_tell_the_competition(tmp_path: Path, text: str, preset: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    assert guess_preset(str(tmp_path / "x.csv")) == preset


@pytest.mark.parametrize(("text", "message"), [
    ("ImageId,EncodedPixels\nx,1 3\n", "those of several competitions: airbus, dsb2018, siim, atria. Set preset"),
    ("a,b\nx,1 3\n", "x.csv: the columns a,b are those of no competition that is known. Set columns"),
    ("", "the file is empty"),
])  # fmt: skip
def test_what_cannot_be_told_is_said(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(UserError, match=re.escape(message)):
        RleCsvDataSet(str(tmp_path), anno_path="x.csv").load()


@pytest.mark.parametrize(("text", "told"), [
    ("image_id,label,rle,h,w\na.png,dent,1 3,4,6\nb.png,scratch,,4,6\n",
     "columns: {image_id: '{name}', label: '{class_name}', h: '{height}', w: '{width}', rle: '{rle}'}, "
     "class_names: [dent, scratch]"),
    ("ImageId,EncodedPixels,label\na.jpg,1 3,2\n", "columns: {ImageId: '{name}', label: '{class_id}', EncodedPixels: '{rle}'}"),
    ("file name,Pixels,score\na.jpg,1 3 7 2,0.5\n", "columns: {file name: '{name}', score: '{score}', Pixels: '{rle}'}"),
    ("Bild,Maske,Fehlerart\na.png,1 3,Riss\na.png,7 2,Pore\nb.png,,\n",
     "columns: {Bild: '{name}', Fehlerart: '{class_name}', Maske: '{rle}'}, class_names: [Pore, Riss], rows: class"),
    ("x,y,z\na.png,dent,1 3\nb.png,dent,1 3\nb.png,dent,7 2\n",
     "columns: {x: '{name}', y: '{class_name}', z: '{rle}'}, class_names: [dent]"),
    ("the_picture (new),defect class,m\na,0,1 3\n",
     "columns: {the_picture (new): '{name}', defect class: '{class_id}', m: '{rle}'}, class_names: [class 0], "
     "category_ids: [0]"),
    ("a,b\nx,1 3\n", "dataset/README.md has examples"),
    ("image,b\nx,y\n", "dataset/README.md has examples"),
    ("id,x\n1 3,y\n", "dataset/README.md has examples"),
])  # fmt: skip
def test_what_an_unknown_csvs_columns_may_be_is_told(tmp_path: Path, text: str, told: str) -> None:
    (tmp_path / "train.csv").write_text(text)
    with pytest.raises(UserError, match=r"no competition that is known\. Set columns") as caught:
        RleCsvDataSet(str(tmp_path)).load()
    assert told in str(caught.value)
    if "columns" in told:
        options = {"class_names": ["one", "two"] if "class_id" in told else ["one"]} | yaml.safe_load(f"{{{told}}}")
        size = {} if "height" in told else {"height": 4, "width": 6}
        records = RleCsvDataSet(str(tmp_path), check_images="none", cache=False, **size, **options).records
        assert records[0].masks


@pytest.mark.parametrize(("options", "message"), [
    ({"preset": "airbuss"}, "preset: there is no 'airbuss'. Did you mean 'airbus'?"),
    ({"preset": "imaterialist_2019"}, "class_names: the names of the classes are needed"),
    ({"preset": "airbus", "class_names": ["a", "b"]}, "2 classes, but columns say of none"),
    ({"preset": "airbus", "file_pattern": "("}, "file_pattern: '(' is no regular expression"),
    ({"preset": "airbus", "file_pattern": "(?P<a>.)", "file_id": "{b}"}, "groups that file_pattern has not; there are {a}"),
    ({"anno_path": None}, "set preset or columns; there is no CSV"),
])  # fmt: skip
def test_descriptions_of_nothing(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=re.escape(message)):
        RleCsvDataSet("nowhere", **options).category_ids  # noqa: B018


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        (folder / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        write_jpeg(folder / "train" / name, 4, 6)


def test_names_without_a_suffix_mean_the_only_file_of_that_name(tmp_path: Path) -> None:
    pictures(tmp_path, "a.png", "b.jpg", "c.d.png", "e.png", "e.jpg")
    (tmp_path / "train.csv").write_text("id,rle_mask\na,1 2\nb,\nc.d,3 1\n")
    options = {"preset": "tgs", "height": 4, "width": 6, "fold": None}
    dataset = RleCsvDataSet(str(tmp_path), **options)
    assert [(record.name, len(record.masks)) for record in dataset.records] == [
        ("a.png", 1), ("b.jpg", 0), ("c.d.png", 1), ("e.jpg", 0), ("e.png", 0),
    ]  # fmt: skip
    (tmp_path / "train.csv").write_text("id,rle_mask\na,1 2\na.png,3 1\ne,1 1\nf,1 1\n")
    with pytest.raises(UserError) as caught:
        RleCsvDataSet(str(tmp_path), **options).load()
    for part in ("'e' may be e.jpg or e.png", "1 picture under two names: a.png, which is 'a.png' too"):
        assert part in str(caught.value)


def test_paths_make_names_and_sizes(tmp_path: Path) -> None:
    slices = [f"case1/case1_day2/scans/slice_{i:04}_6_4_1.50_1.50.png" for i in (1, 2)]
    pictures(tmp_path, *slices)
    rows = "id,class,segmentation\ncase1_day2_slice_0001,stomach,1 2\ncase1_day2_slice_0002,stomach,\n"
    (tmp_path / "train.csv").write_text(rows)
    for checks in ("header", "none"):
        dataset = RleCsvDataSet(str(tmp_path), preset="uw_madison", check_images=checks)
        found = [(record.name, record.height, record.width, [m.box for m in record.masks]) for record in dataset.records]
        assert found == [(slices[0], 4, 6, [(0, 0, 2, 1)]), (slices[1], 4, 6, [])]
    pictures(tmp_path, "kidney_1/images/0007.tif")
    (tmp_path / "train.csv").write_text("id,rle\nkidney_1_0007,1 0\n")
    for preset in ("sennet", None):
        assert [record.name for record in RleCsvDataSet(str(tmp_path), preset=preset).records] == ["kidney_1/images/0007.tif"]


def test_two_columns_make_a_name_and_masks_among_the_pictures_are_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("1_1", "1_1_mask", "1_2", "1_2_mask"):
        (tmp_path / "train").mkdir(exist_ok=True)
        Image.new("L", (6, 4)).save(tmp_path / "train" / f"{name}.tif")
    (tmp_path / "train.csv").write_text("subject,img,pixels\n1,1,1 3 7 2\n1,2,\n")
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        dataset = RleCsvDataSet(str(tmp_path), height=4, width=6)
        found = [(record.name, [mask.to_kaggle() for mask in record.masks]) for record in dataset.records]
    assert found == [("1_1.tif", ["1 3 7 2"]), ("1_2.tif", [])]
    assert "2 masks like .+_mask\\.tif left out" in caplog.text
    form = dataset.layouts[0]
    assert form.annotation("1_2.tif", 4, 6, [("0", dataset.records[0].masks[0])], "0") == [("1", "2.tif", "1 3 7 2")]
    with pytest.raises(UserError, match=r"x\.tif: is not of the form {name_1}_{name_2}, which the columns subject"):
        form.annotation("x.tif", 4, 6, [], "0")
    columns = {"img": "{name_2}", "pixels": "{rle}", "subject": "{name_1}"}
    for text in ("{name_1}_{name_2}.tif", "{name_1}_{name_2}"):
        other = RleCsvDataSet(str(tmp_path), columns, ["x"], "image", joined_name=text, file_pattern=r"(?P<name>\d+_\d+)\.tif")
        assert [(len(record.masks), record.height) for record in other.records][:3:2] == [(1, 4), (0, 4)]
    (tmp_path / "train.csv").write_text("subject,img,pixels\n1,,1 3 7 2\n1,1\n")
    with pytest.raises(UserError, match=r"1 row without an image: row 2\n.*1 row with other than 3 fields: '' \(row 3\)"):
        RleCsvDataSet(str(tmp_path), preset="ultrasound").load()


def test_a_second_csv_tells_sizes(tmp_path: Path) -> None:
    pictures(tmp_path, "a1.jpg", "b2.jpg")
    (tmp_path / "train.csv").write_text("id,encoding\na1,1 2\nb2,\nc3,1 4\n")
    (tmp_path / "sizes.csv").write_text("image_file,width_pixels,height_pixels,race\na1.tiff,6,4,x\nc3.tiff,6,4,x\n")
    options = {"preset": "hubmap_2021", "sizes_path": "sizes.csv"}
    records = RleCsvDataSet(str(tmp_path), check_images="none", **options).records
    assert [(r.name, r.height, r.width, len(r.masks)) for r in records] == [
        ("a1.jpg", 4, 6, 1), ("b2.jpg", 4, 6, 0), ("c3", 4, 6, 1),
    ]  # fmt: skip
    for text, message in (
        ("image_file,width_pixels,height_pixels\na1,7,4\n", "a1.jpg is 4x6, annotated 4x7 (height x width)"),
        ("image_file,width_pixels\na1,7\n", "sizes.csv: none of the columns image_file, width_pixels is an image's height"),
        ("id,width,height\na1,x,4\n", "sizes.csv: height '4' and width 'x' of a1 must be whole numbers"),
        ("id,width,height\na1,5,4\na1,4,4\n", "sizes.csv: a1 is 4x5 and 4x4 (height x width)"),
    ):
        (tmp_path / "sizes.csv").write_text(text)
        with pytest.raises(UserError, match=re.escape(message)):
            RleCsvDataSet(str(tmp_path), **options).load()
    with pytest.raises(UserError, match=r"nothing\.csv: cannot be read \(No such file or directory\); sizes_path names it"):
        RleCsvDataSet(str(tmp_path), preset="hubmap_2021", sizes_path="nothing.csv").load()


def test_what_is_given_goes_before_the_preset(tmp_path: Path) -> None:
    dataset = RleCsvDataSet("x", preset="carvana", order="columns", height=5, width=7, class_names=["auto"])
    assert (dataset.layouts[0].order, dataset.height, dataset.width, dataset.class_names) == ("columns", 5, 7, ["auto"])
    again = yaml.load(yaml.dump(dataset), Loader=yaml.Loader)
    assert (again.layouts, again.class_names, again.height) == (dataset.layouts, ["auto"], 5)
    assert yaml.load(yaml.dump(RleCsvDataSet("x")), Loader=yaml.Loader).given_names is None


@pytest.mark.parametrize("on_error", ["error", "skip"])
def test_a_preset_of_the_other_order_is_refused(on_error: str) -> None:
    options = {"anno_path": "train_masks_prefix.csv", "check_images": "none", "cache": False, "on_error": on_error}
    dataset = RleCsvDataSet(str(ROWS / "carvana"), preset="carvana", order="column", **options)
    with pytest.raises(UserError, match=r"train_masks_prefix\.csv: your masks look row-major: order: rows"):
        dataset.load()


@pytest.mark.parametrize(("numbering", "told"), [
    ({"order": "rows"}, "your masks look row-major: order: rows"),
    ({"base": 0}, "your masks look numbered from 0: base: 0"),
    ({"relative": True}, "cannot be read as they are said to be numbered"),
])  # fmt: skip
def test_steel_numbered_otherwise_is_refused(root: Path, tmp_path: Path, numbering: dict, told: str) -> None:
    """Sheets whose masks are written in another numbering than Severstal's."""
    other = RleCsv({"n": "{name}", "m": "{rle}"}, **numbering)
    with (root / "tests/fixtures/severstal_rows.csv").open(newline="") as source:
        rows = list(csv.DictReader(source))
    with (tmp_path / "train.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        for row in rows:
            mask = Rle.from_kaggle(row["EncodedPixels"], 256, 1600)
            writer.writerow({**row, "EncodedPixels": other.text_of(mask)})
    with pytest.raises(UserError, match=re.escape(told)):
        SteelDataSet(str(tmp_path), check_images="none", cache=False, on_error="skip").load()


def test_polygons_of_json_lines(caplog: pytest.LogCaptureFixture) -> None:
    folder = ROWS / "hubmap_2023_jsonl"
    rows = json.loads((folder / "expected.json").read_text())["rows"]
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        dataset = RleCsvDataSet(str(folder), anno_path="polygons.jsonl", check_images="none", cache=False)
        check(dataset, rows)
    assert "preset: hubmap_2023" in caplog.text
