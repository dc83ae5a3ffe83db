"""The set on disk: Kaggle's layout, byte-identical, resumable, careful with what is not its own; and the command line."""

import csv
import json
import logging
import os
import shlex
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from ppdet_ext.config.load import load_config
from ppdet_ext.data.loading.build import prepare_sample
from ppdet_ext.data.synthetic import KINDS, SampleSpec, make_sheet, part_of, write_sample_set
from ppdet_ext.data.synthetic.__main__ import main
from ppdet_ext.data.synthetic.steel import kind as steel
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

SPEC = SampleSpec(images=16, seed=3, height=64, width=160)
sheet_name = KINDS["steel"].name


def content(out: Path) -> dict[str, bytes]:
    """Every file below `out`, by its relative path."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("set") / "deep" / "steel_sample"
    assert write_sample_set(out, SPEC) is True
    return out


def test_layout(made):
    names = {"sample.json", "split.csv", "train.csv", "train.txt", "val.txt"}
    assert set(content(made)) == names | {f"train_images/{sheet_name(i)}" for i in range(16)}
    assert json.loads((made / "sample.json").read_text()) == SPEC.meta


def test_masks_and_pictures_are_those_of_the_generator(made):
    table = {(row["ImageId"], int(row["ClassId"])): row["EncodedPixels"] for row in rows(made / "train.csv")}
    expected = 0
    for index in range(16):
        sheet = make_sheet(3, index, 64, 160)
        picture = cv2.imread(str(made / "train_images" / sheet_name(index)), cv2.IMREAD_UNCHANGED)
        assert picture.shape == (64, 160, 3)
        assert np.abs(picture[..., 0].astype(int) - sheet.image).mean() < 4
        for class_id in set(np.unique(sheet.labels)) - {0}:
            mask = Rle.from_kaggle(table[sheet_name(index), int(class_id)], 64, 160)
            assert np.array_equal(mask.to_bitmap(), sheet.labels == class_id)
            expected += 1
    assert len(table) == expected == len(rows(made / "train.csv"))


def test_split_names_every_sheet_once_and_the_lists_agree(made):
    parts = {row["ImageId"]: row["part"] for row in rows(made / "split.csv")}
    assert parts == {sheet_name(i): part_of(i) for i in range(16)}
    for part in ("train", "val"):
        assert (made / f"{part}.txt").read_text().split() == [name for name, p in parts.items() if p == part]
    held_out = {int(row["ClassId"]) for row in rows(made / "train.csv") if parts[row["ImageId"]] == "val"}
    assert held_out == {1, 2, 3, 4}


def test_the_number_of_sheets_does_not_change_a_sheet(made, tmp_path):
    write_sample_set(tmp_path, SampleSpec(images=5, seed=3, height=64, width=160))
    small, large = content(tmp_path), content(made)
    for index in range(5):
        assert small[f"train_images/{sheet_name(index)}"] == large[f"train_images/{sheet_name(index)}"]
    assert large["train.csv"].startswith(small["train.csv"])


def test_a_complete_set_is_recognised(made, monkeypatch):
    monkeypatch.setattr(steel, "make_sheet", lambda *_: pytest.fail("made again"))
    before = content(made)
    assert write_sample_set(made, SPEC) is False
    assert content(made) == before


def test_a_lost_picture_is_made_again(made, tmp_path, caplog):
    write_sample_set(tmp_path, SPEC)
    (tmp_path / "train_images" / sheet_name(4)).unlink()
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        assert write_sample_set(tmp_path, SPEC) is True
    assert sheet_name(4) in caplog.text
    assert content(tmp_path) == content(made)


def interrupt_after(monkeypatch, count: int) -> list[int]:
    """Make the generator stop like Ctrl-C after `count` sheets; returns the list of the indices it was asked for."""
    asked: list[int] = []

    def stopping(seed, index, height, width):
        if len(asked) == count:
            raise KeyboardInterrupt
        asked.append(index)
        return make_sheet(seed, index, height, width)

    monkeypatch.setattr(steel, "make_sheet", stopping)
    return asked


@pytest.mark.parametrize("torn", [False, True])
def test_an_interrupted_set_goes_on_where_it_stopped(made, tmp_path, monkeypatch, torn):
    interrupt_after(monkeypatch, 6)
    with pytest.raises(KeyboardInterrupt):
        write_sample_set(tmp_path, SPEC)
    assert not (tmp_path / "sample.json").exists()
    assert not (tmp_path / "train.csv").exists()
    if torn:
        # As after a power cut: the last line half written, a picture half written aside.
        progress = tmp_path / ".progress.jsonl"
        progress.write_text(progress.read_text()[:-9])
        (tmp_path / "train_images" / ".sheet_00006.jpg.1.tmp").write_bytes(b"half")
    asked = interrupt_after(monkeypatch, 99)
    assert write_sample_set(tmp_path, SPEC) is True
    assert asked == list(range(5 if torn else 6, 16))
    assert content(tmp_path) == content(made)


def test_an_interrupted_set_of_other_settings_is_refused(tmp_path, monkeypatch):
    interrupt_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        write_sample_set(tmp_path, SPEC)
    with pytest.raises(UserError, match=r"other settings \(seed 3\)"):
        write_sample_set(tmp_path, SampleSpec(images=16, seed=4, height=64, width=160))


def test_a_set_of_other_settings_is_refused_untouched(made):
    before = content(made)
    with pytest.raises(UserError, match=r"images 16.*another folder"):
        write_sample_set(made, SampleSpec(images=20, seed=3, height=64, width=160))
    assert content(made) == before


@pytest.mark.parametrize("foreign", [{"notes.txt": b"mine"}, {"sample.json": b'{"a": 1}\n'}, {"sample.json": b"\xff\x00"}])
def test_foreign_content_is_refused_untouched(tmp_path, foreign):
    for name, data in foreign.items():
        (tmp_path / name).write_bytes(data)
    with pytest.raises(UserError, match="holds no sample set"):
        write_sample_set(tmp_path, SPEC)
    assert content(tmp_path) == foreign


def test_an_unwritable_folder_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(UserError, match="cannot write the sample set"):
            write_sample_set(out, SPEC)


def test_a_full_disk_is_a_user_error_and_leaves_no_half_file(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(UserError, match="No space left"):
        write_sample_set(tmp_path / "out", SPEC)
    assert content(tmp_path) == {}


def test_a_small_set_warns_of_missing_classes(tmp_path, caplog):
    with caplog.at_level(logging.WARNING, "ppdet_ext"):
        write_sample_set(tmp_path, SampleSpec(images=4, seed=0, height=64, width=128))
    assert "val lacks class" in caplog.text


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"images": 3}, "--images 3"),
        ({"seed": -1}, "--seed -1"),
        ({"height": 32}, "1600×32"),
        ({"width": 300}, "300×256"),
        ({"quality": 0}, "--quality 0"),
    ],
)
def test_bad_parameters(wrong, message):
    with pytest.raises(UserError, match=message):
        SampleSpec(**wrong)


def test_command_line(made, tmp_path, root):
    flags = ["--images", "16", "--seed", "3", "--height", "64", "--width", "160"]
    command = [sys.executable, "-m", "ppdet_ext.data.sample", "--out", str(tmp_path / "set"), *flags]
    ran = subprocess.run(command, cwd=root, capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert "16 sheets 160×64, 4 held out, 5 clean; rows:" in ran.stdout
    assert "made in" in ran.stdout
    # What it says is enough for the shipped configuration.
    options = next(line for line in ran.stdout.splitlines() if line.startswith("to train on it: ")).partition(" -o ")[2]
    cfg = load_config("configs/htc/steel_sample.yml", shlex.split(options))
    prepare_sample(cfg)
    assert [len(one) for one in (cfg.TrainDataset, cfg.EvalDataset, cfg.TestDataset)] == [8, 4, 4]
    assert (cfg.TrainDataset.records[0].height, cfg.TrainDataset.records[0].width) == (64, 160)
    assert ran.stderr == "", "quiet when nobody watches"
    assert content(tmp_path / "set") == content(made)


def test_command_line_says_what_is_wrong_in_one_line(made, tmp_path, capsys):
    flags = ["--images", "16", "--seed", "3", "--height", "64", "--width", "160"]
    assert main(["--out", str(made), *flags]) == 0
    assert "already complete" in capsys.readouterr().out
    assert main(["--out", str(made), "--images", "8"]) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    (tmp_path / "file").write_text("")
    assert main(["--out", str(tmp_path / "file"), *flags]) == 1


def test_command_line_interrupted(tmp_path, monkeypatch, capsys):
    interrupt_after(monkeypatch, 2)
    assert main(["--out", str(tmp_path), "--images", "8", "--height", "64", "--width", "128"]) == 130
    assert "goes on" in capsys.readouterr().err
