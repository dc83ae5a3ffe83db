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
from ppdet_ext.errors import UserError


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
