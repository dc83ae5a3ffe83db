"""tools/pseudo_label.py: its rows against the predictions of tools/infer.py, and training on a mix with them."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from forked_runs import load_tool

from ppdet_ext.commands.flags import pseudo_label_parser
from ppdet_ext.data.datasets import SteelDataSet
from ppdet_ext.structures import Rle
from tests.commands.conftest import ROOT

FLAGS = {"-c/--config": None, "-o/--opt": [], "--traceback": False, "--debug": False, "--infer_img": None, "--infer_dir": None,
         "--output": "output/pseudo_labels.csv", "--score": [], "--min_area": 0, "--reject_from": None,
         "--keep_empty": False, "--postprocess": None}  # fmt: skip


@pytest.fixture(scope="module")
def tool():
    """main(argv) of the tool."""
    return load_tool("pseudo_label")


@pytest.fixture(scope="module")
def unlabelled(workspace: Path) -> Path:
    """Pictures without annotations: the sheets by other names."""
    folder = workspace / "unlabelled"
    folder.mkdir(exist_ok=True)
    for image in sorted((workspace / "sheets" / "train_images").iterdir()):
        shutil.copy(image, folder / f"new_{image.name}")
    return folder


@pytest.fixture(scope="module")
def given(config, trained, unlabelled, tmp_path_factory) -> list[str]:
    """Arguments of every run."""
    return ["-c", config, "--infer_dir", str(unlabelled), "-o", f"weights={trained}/best_model"]


@pytest.fixture(scope="module")
def predicted(tools, given, tmp_path_factory) -> dict[str, list[tuple[int, float, Rle]]]:
    """File name -> (class id, score, mask) of all predictions, as infer.py saves them."""
    folder = tmp_path_factory.mktemp("predicted")
    assert tools["infer"]([*given, "--save_results", "--output_dir", str(folder)]) == 0
    found = {entry["id"]: (entry["file_name"], []) for entry in json.loads((folder / "images.json").read_text())}
    for entry in json.loads((folder / "mask.json").read_text()):
        found[entry["image_id"]][1].append((entry["category_id"], entry["score"], Rle.from_coco(entry["segmentation"])))
    return dict(found.values())


def scores_of(predicted, share: float) -> float:
    """A score that this share of all predictions does not reach, not equal to any."""
    ordered = sorted(score for image in predicted.values() for _, score, _ in image)
    at = int(share * len(ordered))
    return (ordered[at] + ordered[at - 1]) / 2


def expected(predicted, threshold, min_area: int, reject_from: float | None) -> tuple[dict, set[str], set[str]]:
    """((name, class id) -> union of masks, doubtful names, names without confident objects), the slow way."""
    unions, doubtful, empty = {}, set(), set()
    for name, found in predicted.items():
        bitmaps = defaultdict(list)
        for number, score, mask in found:
            if mask.area < max(min_area, 1):
                continue
            if score >= threshold(number):
                bitmaps[number].append(mask.to_bitmap())
            elif reject_from is not None and score >= reject_from:
                doubtful.add(name)
        if name not in doubtful:
            unions.update({(name, number): np.any(maps, axis=0) for number, maps in bitmaps.items()})
            if not bitmaps:
                empty.add(name)
    return unions, doubtful, empty


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    header, *rows = csv.reader(path.open())
    return header, rows


def test_flags_are_frozen() -> None:
    actions = [action for action in pseudo_label_parser()._actions if action.dest != "help"]
    assert {"/".join(action.option_strings): action.default for action in actions} == FLAGS


@pytest.mark.parametrize(("share", "low", "min_area", "keep_empty"), [
    (0.5, None, 0, False), (0.9, None, 0, True), (0.9, 0.88, 0, False), (0.95, 0.93, 40, True), (0.8, 0.0, 200, False),
])  # fmt: skip
def test_rows_are_the_confident_predictions(
    share, low, min_area, keep_empty, tool, given, predicted, unlabelled, tmp_path, capfd
) -> None:
    score, path = scores_of(predicted, share), tmp_path / "pseudo.csv"
    reject = None if low is None else max(scores_of(predicted, low), 0) if low else 0.0
    unions, doubtful, empty = expected(predicted, lambda number: score, min_area, reject)
    arguments = ["--score", str(score), "--min_area", str(min_area), "--output", str(path)]
    arguments += [] if reject is None else ["--reject_from", str(reject)]
    arguments += ["--keep_empty"] if keep_empty else []
    taken = {name for name, _ in unions} | (empty if keep_empty else set())
    if not taken:
        assert tool([*given, *arguments]) == 1
        error = capfd.readouterr().err
        assert "so nothing is written" in error
        assert ("Raise --reject_from, or leave it out" in error) == bool(doubtful)
        assert not path.exists()
        return
    assert tool([*given, *arguments]) == 0
    out = capfd.readouterr().out
    header, rows = read(path)
    assert header == ["ImageId", "ClassId", "EncodedPixels"]
    found = {(name, int(number)): Rle.from_kaggle(text, 64, 128) for name, number, text in rows if text}
    assert {pair: mask.to_bitmap().tolist() for pair, mask in found.items()} == {
        pair: union.astype(int).tolist() for pair, union in unions.items()
    }
    assert {name for name, number, text in rows if not text and not number} == (empty if keep_empty else set())
    assert len(rows) == len(unions) + (len(empty) if keep_empty else 0)
    assert f"{len(taken)} of 8 images taken ({12.5 * len(taken):.1f} %); {len(doubtful)} left out as doubtful" in out
    assert f"; {len(empty)} without a confident object" in out
    per_class = Counter(number for _, number in unions)
    for number, name in enumerate(["defect_1", "defect_2", "defect_3", "defect_4"], start=1):
        line = re.search(rf"{name} +score {score:g}: \d+ objects \([\d.]+ %\) in (\d+) images", out)
        assert int(line[1]) == per_class[number]

    dataset = SteelDataSet(
        str(tmp_path), anno_path="pseudo.csv", image_dir=str(unlabelled), split="pseudo.csv", height=64, width=128
    ).load()
    assert {record.name for record in dataset.records} == taken


def test_thresholds_by_class(tool, given, predicted, tmp_path) -> None:
    """By name or id; the others get the default."""
    low, high, path = scores_of(predicted, 0.4), scores_of(predicted, 0.9), tmp_path / "pseudo.csv"
    unions, _, _ = expected(predicted, lambda number: {1: low, 3: 1.0}.get(number, high), 0, None)
    scores = [f"defect_1={low}", "3=1", f"default={high}"]
    assert tool([*given, "--score", *scores, "--output", str(path)]) == 0
    assert [(name, int(number)) for name, number, _ in read(path)[1]] == sorted(unions)


def test_postprocess_is_used(tool, given, predicted, config, tmp_path) -> None:
    """What a step of the configuration drops is no label."""
    steps = tmp_path / "steps.yml"
    steps.write_text(f"_BASE_: [{config}]\nPostProcess:\n  - DropClasses: {{classes: [defect_3, defect_4]}}\n")
    arguments = [*given, "--score", "0", "--output", str(tmp_path / "pseudo.csv")]
    arguments[1] = str(steps)
    assert tool(arguments) == 0
    classes = {number for _, number, _ in read(tmp_path / "pseudo.csv")[1]}
    assert classes <= {"1", "2"}
    assert {str(number) for image in predicted.values() for number, _, _ in image} > classes


def test_steps_of_a_file_are_used(tool, given, tmp_path) -> None:
    """As tools/tune.py writes it."""
    (tmp_path / "tuned.yml").write_text("PostProcess:\n  - DropClasses: {classes: [defect_3, defect_4]}\n")
    whole, tuned = tmp_path / "whole.csv", tmp_path / "tuned.csv"
    assert tool([*given, "--score", "0", "--output", str(whole)]) == 0
    assert tool([*given, "--score", "0", "--output", str(tuned), "--postprocess", str(tmp_path / "tuned.yml")]) == 0
    kept = [row for row in read(whole)[1] if row[1] in ("1", "2")]
    assert kept == read(tuned)[1]
    assert len(kept) < len(read(whole)[1])


def test_sheets_of_another_size_are_left_out(tool, given, unlabelled, tmp_path, capfd) -> None:
    """SteelDataSet would refuse them, and their masks would be others at its size."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    for image in sorted(unlabelled.iterdir())[:2]:
        shutil.copy(image, folder)
    same = sorted(path.name for path in folder.iterdir())
    for name, size in (("flat.jpg", (1, 300)), ("turned.jpg", (128, 64))):
        cv2.imwrite(str(folder / name), np.full((*size, 3), 90, np.uint8))
    shutil.copy(folder / same[0], folder / os.fsdecode(b"\xe9.jpg"))
    path, arguments = tmp_path / "pseudo.csv", [*given]
    arguments[arguments.index("--infer_dir") + 1] = str(folder)
    assert tool([*arguments, "--score", "0", "--keep_empty", "--output", str(path)]) == 0
    out = capfd.readouterr().out
    assert "1 image is left out, since a CSV is UTF-8, and names are not: '\\udce9.jpg'" in out
    said = "2 images are left out, since TrainDataset's images are 64x128 (height x width): "
    assert f"{said}flat.jpg (1x300), turned.jpg (128x64)" in out
    assert "2 of 2 images taken" in out
    assert sorted({name for name, _, _ in read(path)[1]}) == same
    options = {"anno_path": "pseudo.csv", "image_dir": str(folder), "split": "pseudo.csv", "height": 64, "width": 128}
    assert len(SteelDataSet(str(tmp_path), **options).load()) == 2
    for name in same:
        (folder / name).unlink()
    path.unlink()
    assert tool([*arguments, "--score", "0", "--keep_empty", "--output", str(path)]) == 1
    assert "No image can be taken, so nothing is written." in capfd.readouterr().err
    assert not path.exists()


def test_an_output_that_cannot_be_written_is_said_before_the_work(tool, given, tmp_path, monkeypatch, capfd) -> None:
    monkeypatch.setattr("ppdet_ext.commands.pseudo_label.ImagePredictor", lambda *_: pytest.fail("the images were predicted"))
    (tmp_path / "file").write_text("")
    for output in (tmp_path, tmp_path / "file" / "pseudo.csv"):
        assert tool([*given, "--output", str(output)]) == 1
        error = capfd.readouterr().err
        assert "--output" in error
        assert "Traceback" not in error


def test_training_on_a_mix_goes_on_to_the_same_bits(tool, tools, given, config, predicted, unlabelled, tmp_path, capfd) -> None:
    """From YAML, over an interruption; what resumption compares notices another ratio."""
    path = tmp_path / "pseudo.csv"
    assert tool([*given, "--score", str(scores_of(predicted, 0.5)), "--output", str(path)]) == 0
    found = re.search(r"A data set of them: \{dataset_dir: …, (.*)\}", capfd.readouterr().out)[1]
    assert found == f"anno_path: {path}, split: {path}, image_dir: {unlabelled}"
    sheets = "height: 64, width: 128, dataset_dir"
    folder = unlabelled.parent / "sheets"
    mix = f"""TrainDataset: !MixedDataSet
  labelled: !SteelDataSet {{{sheets}: {folder}, split: train.txt}}
  pseudo: !SteelDataSet {{{sheets}: {tmp_path}, {found}}}
  ratio: 0.25
"""
    text = re.sub(r"(?m)^TrainDataset:.*\n", mix, Path(config).read_text())
    (tmp_path / "mix.yml").write_text(text)
    arguments = ["-c", str(tmp_path / "mix.yml"), "-o", f"save_dir={tmp_path}"]
    assert tools["train"](arguments) == 0
    assert "mixed: 6 labelled and 2 of " in capfd.readouterr().out
    run = tmp_path / "mix"
    whole = (run / "model_final.pdparams").read_bytes()
    assert tools["train"](["-r", "0", *arguments]) == 0
    assert (run / "model_final.pdparams").read_bytes() == whole
    capfd.readouterr()
    assert tools["train"](["-r", "0", *arguments, "TrainDataset.ratio=0.1"]) == 1
    assert "dataset: training images: 8 -> 6" in capfd.readouterr().err


@pytest.mark.parametrize(("arguments", "message"), [
    (["--score", "pots=0.5"], "--score: there is no class 'pots'"),
    (["--score", "1.5"], "--score: 1.5 is not from 0 to 1"),
    (["--score", "half"], "--score half: 'half' is no number"),
    (["--score", "0.5", "0.6"], "--score gives the score of default twice"),
    (["--reject_from", "0.9"], "--reject_from 0.9 is not below any --score"),
    (["--reject_from", "1.2"], "--reject_from 1.2; at least 0, and a score are needed"),
    (["--min_area", "-1"], "--min_area is -1"),
    (["--score", "1"], "No image has a confident object, so nothing is written. Lower --score"),
    (["-o", "TrainDataset=null"], "TrainDataset is not configured; annotations are written for SteelDataSet"),
])  # fmt: skip
def test_bad_input_is_one_message(arguments, message, tool, given, tmp_path, capfd) -> None:
    path = tmp_path / "pseudo.csv"
    assert tool([*given, "--output", str(path), *arguments]) == 1
    error = capfd.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert not path.exists()


def test_a_command_line_on_two_ranks(given, predicted, tmp_path) -> None:
    score = scores_of(predicted, 0.5)
    unions, _, _ = expected(predicted, lambda number: score, 0, None)
    tool = str(ROOT / "tools" / "pseudo_label.py")
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2", tool, *given, "--score", str(score)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=240, env={**os.environ})
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    # Which pixels a mask has may depend on the number of threads.
    found = [(name, int(number)) for name, number, _ in read(tmp_path / "output" / "pseudo_labels.csv")[1]]
    assert found == sorted(unions)
    assert done.stdout.count("A data set of them") == 1
