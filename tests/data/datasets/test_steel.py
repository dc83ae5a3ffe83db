"""Severstal's CSV formats, and everything that can be wrong with them."""

import logging
import os
import re
from pathlib import Path

import numpy as np
import ppdet.data.source
import pytest
import yaml
from ppdet.core.workspace import get_registered_modules
from steel_data import names, opened
from tiny_data import HEIGHT, WIDTH, block, write_csv, write_jpeg

from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.synthetic import SampleSpec, write_sample_set
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle


def test_components_become_instances(steel):
    dataset = opened(steel)
    first, second, third = dataset.records[:3]
    assert names(dataset) == [f"{c}.jpg" for c in "abcdefgh"]
    assert first.labels.tolist() == [0, 0, 2]
    assert first.masks == [block(2, 3, 5, 6), block(20, 40, 4, 8), block(10, 20, 3, 3)]
    np.testing.assert_array_equal(first.boxes, [[3, 2, 9, 7], [40, 20, 48, 24], [20, 10, 23, 13]])
    assert (first.height, first.width, first.crowd.tolist()) == (HEIGHT, WIDTH, [False] * 3)
    assert second.labels.tolist() == [2]
    assert third.boxes.shape == (0, 4)
    assert third.masks == []
    assert dataset.num_classes == 4
    assert dataset.class_names == ["defect_1", "defect_2", "defect_3", "defect_4"]
    assert dataset.category_ids == [1, 2, 3, 4]
    assert [record.im_id for record in dataset.records] == list(range(8))


def test_the_older_format_gives_the_same(steel):
    new = opened(steel).records
    rows = [line.split(",") for line in (steel / "train.csv").read_text().splitlines()[1:]]
    old = {(name, int(label)): text for name, label, text in rows}
    write_csv(
        steel,
        [(f"{c}.jpg_{k}", old.get((f"{c}.jpg", k), "")) for c in "abcdefgh" for k in range(1, 5)],
        "ImageId_ClassId,EncodedPixels",
    )
    for before, after in zip(new, opened(steel).records):
        assert (before.name, before.masks, before.labels.tolist()) == (after.name, after.masks, after.labels.tolist())


def test_construction_reads_nothing_and_yaml_restores_it():
    dataset = yaml.load("!SteelDataSet {dataset_dir: nowhere, fold: 2, part: val}", Loader=yaml.Loader)
    again = yaml.load(yaml.dump(dataset), Loader=yaml.Loader)
    assert isinstance(again, SteelDataSet)
    assert (again.dataset_dir, again.fold, again.part, again.class_names) == ("nowhere", 2, "val", dataset.class_names)
    assert ppdet.data.source.SteelDataSet is SteelDataSet
    assert "SteelDataSet" in get_registered_modules()


def test_missing_data_says_where_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shipped = Path("dataset/steel")
    for _ in range(2):
        with pytest.raises(UserError) as caught:
            SteelDataSet().load()
        text = str(caught.value)
        for part in (
            str(shipped),
            "kaggle.com/c/severstal-steel-defect-detection",
            "dataset/steel/train.csv",
            "configs/htc/steel_sample.yml",
            "ppdet_ext.data.synthetic",
        ):
            assert part in text
        assert text.count("\n") < 20
        shipped.mkdir(parents=True, exist_ok=True)
    (shipped / "train_images").mkdir()
    with pytest.raises(UserError, match=r"train\.csv does not exist[\s\S]*kaggle"):
        SteelDataSet(str(shipped.resolve())).load()


def test_missing_data_of_ones_own_is_no_reason_to_fetch_severstals(tmp_path):
    for make, message in (
        (lambda: None, f"Data set folder {tmp_path}/mine does not exist; dataset_dir names it."),
        ((tmp_path / "mine").mkdir, f"Image folder {tmp_path}/mine/train_images does not exist; dataset_dir and image_dir"),
        (
            (tmp_path / "mine/train_images").mkdir,
            f"Annotation file {tmp_path}/mine/train.csv does not exist; dataset_dir and anno",
        ),
    ):
        make()
        with pytest.raises(UserError, match=re.escape(message)) as caught:
            opened(tmp_path / "mine")
        assert "aggle" not in str(caught.value)
    (tmp_path / "mine/labels.csv").write_text("")
    with pytest.raises(UserError, match=r"there are labels\.csv, train_images\."):
        opened(tmp_path / "mine")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "the file is empty"),
        ("ImageId,ClassId,EncodedPixels\n", "no rows"),
        ("image,class,rle\na.jpg,1,1 2\n", "found the columns image,class,rle; expected ImageId,ClassId,EncodedPixels"),
        (
            "ImageId,ClassId,EncodedPixels\na.jpg,1,1 2,3,4\n",
            r"faults\n  1 row with other than 3 fields: 'a.jpg' \(row 2\) has 5",
        ),
    ],
)
def test_a_bad_csv_is_named_with_its_fault(steel, content, message):
    (steel / "train.csv").write_text(content)
    with pytest.raises(UserError, match=rf"train\.csv.*{message}"):
        opened(steel)


def test_binary_rubbish_is_no_csv(steel):
    (steel / "train.csv").write_bytes(b"\x89PNG\r\n\xff\xfe\x00\x80,\xff\n\x80\x81\n")
    with pytest.raises(UserError, match=r"train\.csv"):
        opened(steel)


def test_blank_lines_byte_order_mark_and_spaces_are_harmless(steel):
    expected = opened(steel)
    text = (steel / "train.csv").read_text()
    (steel / "train.csv").write_text("\ufeff" + text.replace("\n", "\n\n").replace(",1,", ", 1,") + "\n\n")
    found = opened(steel)
    assert [r.masks for r in found.records] == [r.masks for r in expected.records]


@pytest.mark.parametrize("text", ["1 2 3", "1 x", "0 4", "5 0", "1 -3", "9 2 4 1", "1 5 3 5", f"{HEIGHT * WIDTH} 2"])
def test_malformed_masks_name_image_and_row(steel, text, caplog):
    write_csv(steel, [("a.jpg", 1, "1 3"), ("b.jpg", 2, text)])
    with pytest.raises(UserError, match=r"image b\.jpg, row 3"):
        opened(steel)
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        dataset = opened(steel, on_error="skip")
    assert "b.jpg, row 3" in caplog.text
    # With its defect gone b.jpg would pass for clean steel.
    assert names(dataset) == [f"{c}.jpg" for c in "acdefgh"]
    assert "1 image left out altogether because of faulty rows: b.jpg" in caplog.text


@pytest.mark.parametrize("blank", ["b.jpg,,", "b.jpg, , ", "b.jpg,2,"])
def test_a_row_without_class_and_pixels_is_a_clean_sheet(steel, blank):
    (steel / "train.csv").write_text(f"ImageId,ClassId,EncodedPixels\na.jpg,1,1 3\n\n{blank}\nc.jpg,2,1 3\n")
    dataset = opened(steel)
    assert names(dataset) == [f"{c}.jpg" for c in "abcdefgh"]
    assert [len(record.masks) for record in dataset.records[:3]] == [1, 0, 1]


def test_pixels_without_a_class_are_a_fault(steel):
    write_csv(steel, [("a.jpg", 1, "1 3"), ("b.jpg", "", ""), ("c.jpg", "", "1 3")])
    with pytest.raises(UserError, match=r"1 row of an unknown class .*c\.jpg class '' \(row 4\)"):
        opened(steel)


def test_all_faults_are_counted_and_named_at_once(steel):
    rows = [
        ("a.jpg", 1, "1 3"),
        ("a.jpg", 1, "9 3"),
        ("a.jpg", 7, "1 3"),
        ("b.jpg", "x", "1 3"),
        *((f"gone{i:02d}.jpg", 1, "1 3") for i in range(12)),
    ]
    write_csv(steel, rows)
    write_jpeg(steel / "train_images" / "c.jpg", HEIGHT + 1, WIDTH)
    (steel / "train_images" / "d.jpg").write_bytes(b"nothing")
    with pytest.raises(UserError) as caught:
        opened(steel)
    text = str(caught.value)
    assert "1 further row of an image and class, with another mask: a.jpg class 1 (row 3, the first in row 2)" in text
    assert "for data with a row for each instance there is !RleCsvDataSet with rows: instance" in text
    assert "2 rows of an unknown class (known: 1 to 4): a.jpg class '7' (row 4); b.jpg class 'x' (row 5)" in text
    assert "12 images named by the annotations but missing on disk: gone00.jpg" in text
    assert "gone09.jpg (row 15), and 2 more" in text
    assert "gone10.jpg" not in text
    assert "c.jpg is 33x64, annotated 32x64 (height x width)" in text
    assert "d.jpg" in text
    assert "on_error: skip" in text


def test_a_row_that_says_the_same_again_is_a_duplicate(steel):
    write_csv(steel, [("a.jpg", 1, "1 3"), ("b.jpg", 2, ""), ("a.jpg", 1, "1 2 3 1"), ("b.jpg", 2, "")])
    with pytest.raises(UserError) as caught:
        opened(steel)
    text = str(caught.value)
    assert "2 duplicate rows of an image and class: a.jpg class 1 (row 4, the first in row 2); b.jpg class 2" in text
    assert "RleCsvDataSet" not in text


def test_skipping_leaves_the_faulty_out_and_says_so(steel, caplog):
    write_csv(steel, [("a.jpg", 1, "1 3"), ("a.jpg", 1, "9 3"), ("gone.jpg", 1, "1 3"), ("b.jpg", 5, "1 3")])
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        dataset = opened(steel, on_error="skip")
    assert names(dataset) == [f"{c}.jpg" for c in "cdefgh"]
    for part in ("gone.jpg", "row 3", "row 5", "skipped", "2 images left out altogether because of faulty rows: a.jpg; b.jpg"):
        assert part in caplog.text


def test_pictures_in_sub_folders_are_those_that_rows_name_by_their_path(steel, caplog):
    (steel / "train_images/more/old").mkdir(parents=True)
    for name in ("more/i.jpg", "more/old/j.jpg"):
        write_jpeg(steel / "train_images" / name, HEIGHT, WIDTH)
    assert len(opened(steel)) == 8
    assert "2 pictures in 2 sub-folders are not used (more, more/old)" in caplog.text
    caplog.clear()
    write_csv(steel, [("a.jpg", 1, "1 3"), ("more/i.jpg", 1, "1 3")])
    assert names(opened(steel)) == [*(f"{c}.jpg" for c in "abcdefgh"), "more/i.jpg"]
    assert "1 picture in 1 sub-folder is not used (more/old)" in caplog.text


def test_a_split_does_not_hide_that_names_have_no_file(steel, caplog):
    write_csv(steel, [("a", 1, "1 3"), ("sheets/b.jpg", 1, "1 3"), ("c.jpg", 2, "1 3")])
    (steel / "val.txt").write_text("a.jpg\nb.jpg\nc.jpg\n")
    for change in ({}, {"height": None, "width": None}, {"height": None, "width": None, "check_images": "none"}):
        with pytest.raises(UserError, match=r"a \(there is a\.jpg\); sheets/b\.jpg \(there is b\.jpg\)"):
            opened(steel, split="val.txt", **change)
    write_csv(steel, [("gone", 1, "1 3"), ("lost/x.jpg", 1, "1 3"), ("c.jpg", 2, "1 3")])
    assert len(opened(steel, split="val.txt")) == 3
    assert "of 2 images with masks there is no picture in" in caplog.text
    assert "none is chosen: gone, lost/x.jpg" in caplog.text
    caplog.clear()
    assert len(opened(steel, split="val.txt", check_images="none")) == 3
    assert "no picture" not in caplog.text


def test_rows_for_each_instance_are_told_where_they_belong(steel):
    write_csv(steel, [("a.jpg", 1, "1 3"), ("a.jpg", 1, "9 3")])
    with pytest.raises(UserError, match=r"1 further row .*\n.*!RleCsvDataSet with rows: instance"):
        opened(steel)


def test_files_that_macos_puts_beside_pictures_are_none(steel):
    (steel / "train_images/._a.jpg").write_bytes(b"\0")
    assert len(opened(steel)) == 8


def test_header_checks_can_be_weaker(steel):
    write_jpeg(steel / "train_images" / "c.jpg", HEIGHT, WIDTH + 8)
    with pytest.raises(UserError, match="contradicts"):
        opened(steel)
    assert len(opened(steel, check_images="exists")) == 8
    os.remove(steel / "train_images" / "a.jpg")
    with pytest.raises(UserError, match=r"missing on disk: a\.jpg"):
        opened(steel, check_images="exists")
    assert len(opened(steel, check_images="none")) == 8


def test_truncated_images_are_found_on_loading(steel, caplog):
    for name in ("a.jpg", "e.jpg"):
        path = steel / "train_images" / name
        path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(UserError, match=r"2 unreadable images: .*a\.jpg: the JPEG is truncated.*e\.jpg: the JPEG is trunc"):
        opened(steel)
    assert names(opened(steel, on_error="skip")) == [f"{c}.jpg" for c in "bcdfgh"]
    assert "2 unreadable images" in caplog.text
    assert len(opened(steel, check_images="exists")) == 8


def test_sizes_can_come_from_the_headers(steel):
    write_jpeg(steel / "train_images" / "c.jpg", 16, 20)
    write_csv(steel, [("a.jpg", 1, "1 3"), ("c.jpg", 2, "320 1")])
    dataset = opened(steel, height=None, width=None)
    assert (dataset.records[2].height, dataset.records[2].width) == (16, 20)
    assert dataset.records[2].masks[0].size == (16, 20)
    write_csv(steel, [("c.jpg", 2, "321 1")])
    with pytest.raises(UserError, match=r"c\.jpg, row 2"):
        opened(steel, height=None, width=None)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"part": "test"}, "part: 'test' is not one of train, val, all"),
        ({"on_error": "ignore"}, "on_error"),
        ({"check_images": "yes"}, "check_images"),
        ({"fold": 5}, "fold: 5"),
        ({"part": "val"}, "needs a fold"),
        ({"height": None}, "height and width"),
    ],
)
def test_wrong_settings_are_found_at_once(options, message):
    with pytest.raises(UserError, match=message):
        SteelDataSet("nowhere", **options)


def test_small_components_are_left_out_and_counted(steel, caplog):
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        dataset = opened(steel, min_instance_area=10)
    assert [len(record.masks) for record in dataset.records[:2]] == [2, 1]
    assert "1 of 4 components is smaller than min_instance_area: 10" in caplog.text


def test_images_alone_serve_the_test_set(steel, caplog):
    with caplog.at_level(logging.INFO, "ppdet_ext"):
        dataset = opened(steel, anno_path=None)
    assert len(dataset) == 8
    assert "8 images without annotations" in caplog.text
    assert "without defects" not in caplog.text
    assert opened(steel).annotated
    assert not dataset.annotated
    assert all(not record.masks for record in dataset.records)


def test_nothing_left_is_an_error(steel):
    write_csv(steel, [("a.jpg", 1, "")])
    with pytest.raises(UserError, match="no image is left"):
        opened(steel, allow_empty=False)


def test_all_real_rows(shared, tmp_path):
    folder = shared / "data/severstal"
    dataset = SteelDataSet(str(folder), image_dir="images", check_images="none").load()
    rows = [line.split(",") for line in (folder / "train.csv").read_text().splitlines()[1:]]
    assert len(rows) == 1416
    by_name = {record.name: record for record in dataset.records}
    assert len({name for name, _, _ in rows}) == 1334
    # The listing adds the sheet without defects.
    assert len(dataset) == 1335
    for name, label, text in rows:
        record = by_name[name]
        own = [mask for mask, own in zip(record.masks, record.labels) if own == int(label) - 1]
        merged = Rle.merge(own)
        assert merged.to_kaggle() == text
        np.testing.assert_array_equal(record.boxes[0], record.masks[0].box)


def test_the_real_older_format(shared):
    dataset = SteelDataSet(str(shared / "data/severstal"), "train_old_format.csv", "images", check_images="none").load()
    lines = (shared / "data/severstal/train_old_format.csv").read_text().splitlines()[1:]
    filled = {tuple(line.split(",")[0].rsplit("_", 1)): line.split(",")[1] for line in lines if not line.endswith(",")}
    assert len(lines) == 1600
    assert len(filled) == 235
    by_name = {record.name: record for record in dataset.records}
    assert len({line.split(",")[0].rsplit("_", 1)[0] for line in lines}) == 400
    for (name, label), text in filled.items():
        record = by_name[name]
        own = [mask for mask, own in zip(record.masks, record.labels) if own == int(label) - 1]
        assert Rle.merge(own).to_kaggle() == text
    assert sum(len(set(r.labels.tolist())) for r in dataset.records) == 235


def test_real_rows_of_missing_sheets_are_named(shared):
    with pytest.raises(UserError, match="1332 images named by the annotations but missing on disk"):
        SteelDataSet(str(shared / "data/severstal"), image_dir="images").load()


@pytest.mark.parametrize("written", ["{stem}", "train_images/{name}", "{stem}.JPG", "{stem}.png"])
@pytest.mark.parametrize("split", [None, "all.txt"])
def test_rows_whose_names_are_nearly_those_of_files_are_faults_whatever_chooses_the_images(tmp_path, written, split):
    """Behind a split the pictures would count as clean."""
    write_sample_set(tmp_path, SampleSpec(images=4, height=64, width=128))
    text, names = (tmp_path / "train.csv").read_text(), sorted(os.listdir(tmp_path / "train_images"))
    (tmp_path / "all.txt").write_text("\n".join(names))
    found = SteelDataSet(str(tmp_path), height=64, width=128).load().records
    defective = {record.name for record in found if len(record.labels)}
    assert defective
    for name in names:
        text = text.replace(name, written.format(name=name, stem=Path(name).stem))
    (tmp_path / "train.csv").write_text(text)
    options = {"height": 64, "width": 128, "split": split}
    with pytest.raises(UserError, match=r"\(there is \w+\.jpg\)") as caught:
        SteelDataSet(str(tmp_path), **options).load()
    if split is not None:
        assert "images with masks whose names are not those of files" in str(caught.value)
        left = SteelDataSet(str(tmp_path), **options, on_error="skip").load().records
        assert [record.name for record in left] == [name for name in names if name not in defective]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PK\x03\x04abc\xa9", "is a ZIP archive. Unpack it; Kaggle's tool"),
        (b"\x1f\x8b\x08\x00", "is packed by gzip"),
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer"),
        ("ImageId,ClassId,EncodedPixels\n\u4f60,1,".encode("gbk"), "not a CSV file in UTF-8. Save it as UTF-8"),
    ],
)
def test_files_that_are_no_csv_are_called_what_they_are(tmp_path, data, message):
    write_sample_set(tmp_path, SampleSpec(images=4, height=64, width=128))
    (tmp_path / "train.csv").write_bytes(data)
    with pytest.raises(UserError, match=rf"train\.csv: {message}"):
        SteelDataSet(str(tmp_path), height=64, width=128).load()


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_csvs_with_a_mark_of_their_encoding(tmp_path, encoding):
    write_sample_set(tmp_path, SampleSpec(images=4, height=64, width=128))
    expected = [record.masks for record in SteelDataSet(str(tmp_path), height=64, width=128).load().records]
    (tmp_path / "train.csv").write_text((tmp_path / "train.csv").read_text(), encoding=encoding)
    assert [record.masks for record in SteelDataSet(str(tmp_path), height=64, width=128).load().records] == expected


def test_pictures_of_another_size_are_told_how_to_be_read(tmp_path: Path) -> None:
    write_sample_set(tmp_path, SampleSpec(images=4, height=64, width=128))
    keys = "TrainDataset.height=64 TrainDataset.width=128 EvalDataset.height=64 EvalDataset.width=128"
    with pytest.raises(UserError, match=rf"-o {keys} .*; with new_config: --data height=64 width=128"):
        SteelDataSet(str(tmp_path)).load()


@pytest.mark.parametrize(("rows", "amount"), [(1, "1 kB"), (5000, "95 kB"), (100_000, "2 MiB")])
def test_how_much_is_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: int, amount: str) -> None:
    caplog.set_level(logging.INFO, "ppdet_ext")
    text = "".join(f"{number:07d}.jpg,1,1 10\n" for number in range(rows))
    (tmp_path / "train.csv").write_text("ImageId,ClassId,EncodedPixels\n" + text)
    SteelDataSet(str(tmp_path), check_images="none", cache=False).load()
    assert f"reading {amount} of masks" in caplog.text
