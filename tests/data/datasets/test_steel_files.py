"""Severstal: the real rows, and files that are nearly right."""

import logging
import os
from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.synthetic import SampleSpec, write_sample_set
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle


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


@pytest.mark.parametrize(("rows", "runs", "amount"), [(1, 1, "1 kB"), (100, 165, "97 kB"), (300, 1000, "2 MiB")])
def test_how_much_is_read_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture, rows: int, runs: int, amount: str) -> None:
    caplog.set_level(logging.INFO, "ppdet_ext")
    mask = " ".join(f"{3 * run + 1} 1" for run in range(runs))
    text = "".join(f"{number:07d}.jpg,1,{mask}\n" for number in range(rows))
    (tmp_path / "train.csv").write_text("ImageId,ClassId,EncodedPixels\n" + text)
    SteelDataSet(str(tmp_path), check_images="none", cache=False).load()
    assert f"reading {amount} of masks" in caplog.text
