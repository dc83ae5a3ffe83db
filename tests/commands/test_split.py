"""tools/split.py: what it writes, prints and refuses, and that training takes what it wrote."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import yaml
from forked_runs import load_tool

from ppdet_ext.commands.flags import split_parser
from ppdet_ext.commands.split import _choice, _options, _write_config, make_split
from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.data.synthetic import SampleSpec, write_sample_set
from ppdet_ext.errors import UserError
from tests.commands.conftest import ROOT

FLAGS = {"-c/--config": None, "-o/--opt": [], "--traceback": False, "--debug": False,
         "--folds": None, "--holdout": None, "--balanced": None, "--seed": 0,
         "--no-duplicates": True, "--output": None, "--force": False}  # fmt: skip


@pytest.fixture(scope="module")
def tool():
    """main(argv) of the tool."""
    return load_tool("split")


@pytest.fixture(scope="module")
def sheets(tmp_path_factory) -> Path:
    """Forty sheets, and copies of the first six by other names (encoded as they were)."""
    folder = tmp_path_factory.mktemp("split") / "sheets"
    write_sample_set(folder, SampleSpec(images=40, height=64, width=128))
    (folder / "split.csv").unlink()
    rows = list(csv.reader((folder / "train.csv").open()))
    images = sorted((folder / "train_images").iterdir())
    for image in images[:6]:
        shutil.copy(image, image.with_name(f"copy_{image.name}"))
    copied = [[f"copy_{row[0]}", *row[1:]] for row in rows if row[0] in {image.name for image in images[:6]}]
    with (folder / "train.csv").open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(copied)
    return folder


@pytest.fixture(scope="module")
def settings(sheets: Path, workspace: Path) -> str:
    """The tiny recipe over those sheets; a fold and no empty images, which the tool must look past."""
    dataset = "!SteelDataSet {dataset_dir: %s, height: 64, width: 128, fold: 1, part: %s%s}"
    text = (workspace / "tiny.yml").read_text()
    for key, part, more in (("Train", "train", ", allow_empty: false"), ("Eval", "val", "")):
        text = re.sub(f"(?m)^{key}Dataset:.*$", f"{key}Dataset: {dataset % (sheets, part, more)}", text)
    (sheets.parent / "split.yml").write_text(text)
    return str(sheets.parent / "split.yml")


def read(path: Path) -> tuple[list[str], dict[str, str]]:
    header, *rows = csv.reader(path.open())
    assert len({row[0] for row in rows}) == len(rows)
    return header, dict(rows)


def test_flags_are_frozen() -> None:
    actions = [action for action in split_parser()._actions if action.dest != "help"]
    assert {"/".join(action.option_strings): action.default for action in actions} == FLAGS


def test_folds_of_a_data_set(tool, settings, sheets, tmp_path, capfd) -> None:
    path = tmp_path / "folds.csv"
    assert tool(["-c", settings, "--folds", "4", "--output", str(path)]) == 0
    out = capfd.readouterr().out
    header, folds = read(path)
    assert header == ["ImageId", "fold"]
    assert set(folds) == {image.name for image in (sheets / "train_images").iterdir()}
    assert all(folds[f"copy_{name}"] == fold for name, fold in folds.items() if f"copy_{name}" in folds)
    sizes = Counter(folds.values())
    assert set(sizes) == set("0123")
    assert max(sizes.values()) - min(sizes.values()) <= 2
    assert "6 of 46 images are duplicates of others: 6 groups of up to 2 images" in out
    assert "copy_sheet_00000.jpg = sheet_00000.jpg" in out

    # The table, line by line, against the data set that takes the file.
    parts = [
        SteelDataSet(str(sheets), height=64, width=128, split=str(path), num_folds=4, fold=fold, part="val").load()
        for fold in range(4)
    ]
    rows = [re.split(r"  +", line) for line in out.splitlines()]
    for label, name in enumerate(parts[0].class_names):
        with_class = [sum(label in record.labels for record in part.records) for part in parts]
        objects = [sum((record.labels == label).sum() for record in part.records) for part in parts]
        for title, numbers in ((f"images with {name}", with_class), (f"objects: {name}", objects)):
            line = next(" ".join(row) for row in rows if row[0] == title)
            found = re.findall(r"(\d+) +([\d.]+) %", line)
            assert [int(number) for number, _ in found] == numbers
            assert [share for _, share in found] == [f"{100 * number / max(sum(numbers), 1):.1f}" for number in numbers]
            assert line.endswith(f" {sum(numbers)}")
    empty = [sum(not record.masks for record in part.records) for part in parts]
    for title, numbers in (("images", list(map(len, parts))), ("images without objects", empty)):
        line = next(" ".join(row) for row in rows if row[0] == title)
        assert [int(number) for number in re.findall(r"(\d+) +[\d.]+ %", line)] == numbers
    deviation = re.search(r"largest deviation in images: ([\d.]+) \((.*), fold (\d): (\d+), ideal ([\d.]+)\)", out)
    assert float(deviation[1]) == pytest.approx(abs(int(deviation[4]) - float(deviation[5])), abs=0.11)


def test_the_same_again_is_the_same_file_and_another_is_not_overwritten(tool, settings, tmp_path, capfd) -> None:
    path = tmp_path / "folds.csv"
    arguments = ["-c", settings, "--output", str(path)]
    assert tool([*arguments, "--no-duplicates"]) == 0
    assert "duplicates" not in capfd.readouterr().out
    before = path.read_bytes(), path.stat().st_mtime_ns
    assert tool([*arguments, "--no-duplicates", "--folds", "5", "--seed", "0"]) == 0
    assert "holds this very split already" in capfd.readouterr().out
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert tool([*arguments, "--seed", "1"]) == 1
    error = capfd.readouterr().err
    assert f"{path} exists and holds something else (a drawn sample brings its own). Give another --output" in error
    assert path.read_bytes() == before[0]
    assert tool([*arguments, "--seed", "1", "--force"]) == 0
    assert path.read_bytes() != before[0]
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["folds.csv", "split_folds.yml"]


@pytest.mark.parametrize(("asked", "count"), [("9", 9), ("0.25", 12), ("45", 45)])
def test_a_holdout_has_as_many_images_as_asked_for(tool, settings, asked, count, tmp_path) -> None:
    path = tmp_path / "held.csv"
    assert tool(["-c", settings, "--holdout", asked, "--output", str(path)]) == 0
    header, parts = read(path)
    assert header == ["ImageId", "part"]
    assert Counter(parts.values()) == {"val": count, "train": 46 - count}
    assert all(parts[f"copy_{name}"] == part for name, part in parts.items() if f"copy_{name}" in parts)


def test_a_number_that_duplicates_do_not_allow_is_said(tool, workspace, tmp_path, capfd) -> None:
    folder = tmp_path / "pairs"
    write_sample_set(folder, SampleSpec(images=4, height=64, width=128))
    for image in list((folder / "train_images").iterdir()):
        shutil.copy(image, image.with_name(f"copy_{image.name}"))
    text = re.sub(r"dataset_dir: \S+/sheets, split: train.txt", f"dataset_dir: {folder}", (workspace / "tiny.yml").read_text())
    (tmp_path / "pairs.yml").write_text(text)
    assert tool(["-c", str(tmp_path / "pairs.yml"), "--holdout", "3", "--output", str(tmp_path / "s.csv")]) == 0
    assert re.search(r"WARNING: [24] images held out, not 3: duplicates stay together", capfd.readouterr().out)


@pytest.mark.parametrize(("arguments", "message"), [
    (["--folds", "1"], "--folds is 1; at least 2 are needed"),
    (["--folds", "0"], "--folds is 0; at least 2 are needed"),
    (["--folds", "41"], "41 folds of 46 images (40 without duplicates)"),
    (["--folds", "47"], "--folds is 47; TrainDataset has 46 images"),
    (["--seed", "-1"], "--seed is -1; expected a whole number from 0 to 4294967295"),
    (["--seed", "99999999999"], "--seed is 99999999999; expected"),
    (["--holdout", "46"], "46 images cannot be held out of 46"),
    (["--holdout", "0.001"], "0 images cannot be held out of 46"),
    (["-o", "TrainDataset.anno_path=null"], "TrainDataset has no annotations, so there are no classes to balance"),
    (["-o", "TrainDataset=null"], "The configuration has no TrainDataset"),
    (["--output", "{tmp}/file/split.csv"], "Cannot write {tmp}/file/split.csv"),
])  # fmt: skip
def test_bad_input_is_one_message(arguments, message, tool, settings, tmp_path, capfd) -> None:
    (tmp_path / "file").write_text("")
    here = {"tmp": str(tmp_path)}
    given = [argument.format(**here) for argument in arguments]
    assert tool(["-c", settings, *(["--output", str(tmp_path / "s.csv")] if "--output" not in given else []), *given]) == 1
    said = capfd.readouterr()
    assert message.format(**here) in said.err
    assert "Traceback" not in said.err
    # Only that there are too few images without duplicates takes looking for them.
    assert ("duplicates" in said.out) == ("without duplicates" in message)
    assert not (tmp_path / "s.csv").exists()


@pytest.mark.parametrize("holdout", ["0", "-3", "1.5", "some", "nan", "inf", "-inf"])
def test_a_holdout_is_a_number_or_a_share(tool, settings, holdout, capfd) -> None:
    with pytest.raises(SystemExit):
        tool(["-c", settings, f"--holdout={holdout}"])
    assert "is neither a number of images nor a share between 0 and 1" in capfd.readouterr().err


@pytest.mark.parametrize("holdout", [float("nan"), 0, 1.0])
def test_a_holdout_of_the_function(holdout, settings) -> None:
    with pytest.raises(UserError, match="--holdout is"):
        make_split(load_config(settings), holdout=holdout)


@pytest.mark.parametrize("name", ["s p.csv", "it's: $HOME #1.csv", "2019"])
def test_the_options_can_be_pasted_whatever_the_file_is_called(tool, settings, name, tmp_path, capfd) -> None:
    path = tmp_path / name
    assert tool(["-c", settings, "--folds", "3", "--no-duplicates", "--output", str(path)]) == 0
    options = shlex.split(re.search(r"To train with it: -o (.*)$", capfd.readouterr().out, re.M)[1])
    cfg = load_config(settings, options)
    assert Path(cfg["TrainDataset"].split) == Path(cfg["EvalDataset"].split) == path
    assert (cfg["EvalDataset"].part, cfg["EvalDataset"].fold, cfg["EvalDataset"].num_folds) == ("val", 0, 3)


@pytest.mark.parametrize("name", ["folds.csv", "it's: $HOME #1.csv"])
def test_the_split_is_kept_as_a_configuration(tool, settings, name, tmp_path, capfd) -> None:
    path = tmp_path / name
    arguments = ["-c", settings, "--folds", "3", "--no-duplicates", "--output", str(path)]
    assert tool(arguments) == 0
    said = capfd.readouterr().out
    (kept,) = shlex.split(re.search(r"Or keep it as a configuration: -c (.*)$", said, re.M)[1])
    base = tmp_path / "mine.yml"
    base.write_text(f"_BASE_: [{json.dumps(Path(kept).name)}]\nepoch: 3\n")
    options = shlex.split(re.search(r"To train with it: -o (.*)$", said, re.M)[1])
    by_hand = load_config(settings, options).resolved
    assert load_config(kept).resolved == by_hand
    assert load_config(base).resolved == {**by_hand, "epoch": 3}
    # What was changed in it stays, unless it is asked for.
    text = Path(kept).read_text()
    Path(kept).write_text(text.replace("fold: 0", "fold: 1"))
    assert tool(arguments) == 0
    assert f"{kept} exists and says something else; it stays as it is" in capfd.readouterr().out
    assert "fold: 1" in Path(kept).read_text()
    assert tool([*arguments, "--force"]) == 0
    assert Path(kept).read_text() == text


def test_the_configuration_of_a_mix_changes_its_labelled_part(sheets, tmp_path) -> None:
    chosen = _choice(str(sheets), sheets / "split.csv", "part", 2, mixed=True)
    assert _options(chosen).split() == [
        "TrainDataset.labelled.split=split.csv",
        "TrainDataset.labelled.part=train",
        "EvalDataset.split=split.csv",
        "EvalDataset.part=val",
    ]
    _write_config(tmp_path / "mix.yml", tmp_path / "split.csv", chosen, force=False)
    tree = yaml.safe_load((tmp_path / "mix_split.yml").read_text())
    assert tree == {
        "_BASE_": ["mix.yml"],
        "TrainDataset": {"labelled": {"split": "split.csv", "part": "train"}},
        "EvalDataset": {"split": "split.csv", "part": "val"},
    }


@pytest.mark.parametrize("name", ["2019", "true", "a: b", "s p.csv", "#1"])
def test_a_file_in_the_data_sets_folder(name, settings, sheets) -> None:
    options = shlex.split(_options(_choice(str(sheets), sheets / name, "part", 2)))
    assert load_config(settings, options)["TrainDataset"].split == name


def test_a_command_line_and_a_training_on_its_file(settings, sheets, tools, tmp_path, capfd) -> None:
    """The file goes to the data set's folder; the printed options train on one side and evaluate on the other."""
    command = [sys.executable, str(ROOT / "tools" / "split.py"), "-c", settings, "--holdout", "6"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, env={**os.environ})
    assert (done.returncode, done.stderr) == (0, "")
    _, parts = read(sheets / "split.csv")
    options = re.search(r"To train with it: -o (.*)$", done.stdout, re.M)[1].split()
    assert options == [f"{key}.{option}" for key, part in (("TrainDataset", "train"), ("EvalDataset", "val"))
                       for option in ("split=split.csv", f"part={part}")]  # fmt: skip
    assert tools["train"](["-c", settings, "--eval", "-o", *options, "epoch=1", f"save_dir={tmp_path}"]) == 0
    out = capfd.readouterr().out
    dataset = SteelDataSet(str(sheets), height=64, width=128, split="split.csv", part="train", allow_empty=False).load()
    assert {parts[record.name] for record in dataset.records} == {"train"}
    assert f"{len(dataset)} images, 0 of them without defects" in out
    assert "Total sample number: 6" in out


def test_a_balanced_subset(tool, settings, sheets, tmp_path, capfd) -> None:
    path = tmp_path / "few.csv"
    assert tool(["-c", settings, "--balanced", "12", "--holdout", "4", "--no-duplicates", "--output", str(path)]) == 0
    out = capfd.readouterr().out
    header, parts = read(path)
    assert header == ["ImageId", "part"]
    assert Counter(parts.values()) == {"train": 8, "val": 4}
    found = {
        part: SteelDataSet(str(sheets), height=64, width=128, split=str(path), part=part).load().records
        for part in ("train", "val")
    }
    records = [record for own in found.values() for record in own]
    assert {record.name for record in records} == set(parts)
    assert all(len(record.masks) for record in records)
    shown = [sum(label in record.labels for record in records) for label in range(4)]
    line = re.search(r"12 of 46 images, with objects, about as many of each class: (.*)\. The split", out)[1]
    assert list(map(int, re.findall(r" (\d+)(?: \(all there are\))?(?:,|$)", line))) == shown
    assert re.search(r"images +8  66\.7 % +4  33\.3 % +12", out)
    assert tool(["-c", settings, "--balanced", "500", "--output", str(path)]) == 1
    assert "--balanced: 500 images with an object are wanted, TrainDataset has" in capfd.readouterr().err
