"""tools/submit.py where it goes on: what is predicted again after a stop, when settings, classes or pictures have changed."""

import json
import shutil
from pathlib import Path

import paddle
import pytest

from ppdet_ext.commands import submit
from ppdet_ext.submission.journal import JournalWriter

SHEETS = [f"sheet_{i:05d}.jpg" for i in range(8)]


def stop_after(images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As by Ctrl-C."""
    add, added = JournalWriter.add, []

    def add_some(self: JournalWriter, name: str, detections: object) -> None:
        add(self, name, detections)
        added.append(name)
        if len(added) == images:
            raise KeyboardInterrupt

    monkeypatch.setattr(JournalWriter, "add", add_some)


def record_predictions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are predicted from here on."""
    names: list[str] = []
    original = submit.ImagePredictor.predictions

    def predictions(self: submit.ImagePredictor, title: str, skip: set[int]):
        for found in original(self, title, skip):
            names.append(found[1])
            yield found

    monkeypatch.setattr(submit.ImagePredictor, "predictions", predictions)
    return names


def test_what_is_done_is_not_predicted_again(arguments, tools, tmp_path: Path, monkeypatch, capfd) -> None:
    with monkeypatch.context() as patch:
        stop_after(4, patch)
        assert tools["submit"](arguments) == 130
    assert "Interrupted. The same command goes on after the images that are done." in capfd.readouterr().err
    batches = record_predictions(monkeypatch)
    assert tools["submit"](arguments) == 0
    assert batches == [f"sheet_{i:05d}.jpg" for i in range(4, 8)]
    assert "4 of 8 images are done" in capfd.readouterr().out
    assert [path.name for path in tmp_path.iterdir()] == ["s.csv"]


@pytest.mark.parametrize(("change", "told"), [
    (["--draw_threshold", "0.4"], "other threshold;"),
    (["--format", "severstal_stage1"], "other format;"),
    (["-o", "HTCRoIHead.max_detections=5"], "other configuration;"),
    (["--infer_dir", "{tmp}/fewer"], "other images;"),
    (["-o", "weights={tmp}/other"], "other weights;"),
    (["--postprocess", "{tmp}/drop.yml"], "other configuration;"),
])  # fmt: skip
def test_other_runs_start_anew(arguments, eager, workspace, tools, tmp_path, monkeypatch, capfd, change, told) -> None:
    sheets = workspace / "sheets" / "train_images"
    shutil.copytree(sheets, tmp_path / "fewer")
    (tmp_path / "fewer" / "sheet_00007.jpg").unlink()
    (tmp_path / "drop.yml").write_text("PostProcess: [DropClasses: {classes: [1]}]\n")
    saved = paddle.load(eager.partition("=")[2])
    name = next(iter(saved))
    paddle.save({**saved, name: saved[name] + 1e-3}, str(tmp_path / "other.pdparams"))
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        assert tools["submit"](arguments) == 130
    capfd.readouterr()
    filled = [text.format(tmp=tmp_path) for text in change]
    assert tools["submit"]([*arguments, *filled]) == 0
    printed = capfd.readouterr().out
    assert "Starting anew" in printed
    assert told in printed
    assert "images are done" not in printed
    assert (tmp_path / "s.csv.progress.earlier_1" / "rank_0.jsonl").exists()


def test_progress_of_the_right_settings_comes_back(arguments, tools, tmp_path, monkeypatch, capfd) -> None:
    for images, flags in ((5, []), (2, ["--draw_threshold", "0.4"]), (1, [])):
        with monkeypatch.context() as patch:
            stop_after(images, patch)
            assert tools["submit"]([*arguments, *flags]) == 130
    printed = capfd.readouterr().out
    assert "Starting anew: what is done was done with other threshold; it is in" in printed
    assert "Taken back from" in printed
    assert "5 of 8 images are done" in printed
    batches = record_predictions(monkeypatch)
    assert tools["submit"](arguments) == 0
    assert batches == SHEETS[6:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["s.csv", "s.csv.progress.earlier_2"]


def test_class_ids_that_come_to_be_known_are_not_mixed_with_invented_ones(
    config, eager, tools, tmp_path, monkeypatch, capfd
) -> None:
    (tmp_path / "coco.yml").write_text(
        f"_BASE_: [{config}]\nTrainDataset: null\n"
        f"EvalDataset: !CocoJsonDataSet {{dataset_dir: {tmp_path}, anno_path: a.json, image_dir: '', check_images: none}}\n"
    )
    arguments = ["-c", str(tmp_path / "coco.yml"), "--draw_threshold", "0.3", "--format", "severstal_stage2"]
    arguments += ["--output", str(tmp_path / "s.csv"), "-o", eager]
    with monkeypatch.context() as patch:
        stop_after(3, patch)
        assert tools["submit"](arguments) == 130
    assert "category ids 1 to 4" in capfd.readouterr().out
    categories = [{"id": 10 + i, "name": f"kind {i}"} for i in range(4)]
    images = [{"id": 1, "file_name": SHEETS[0], "height": 64, "width": 128}]
    (tmp_path / "a.json").write_text(json.dumps({"images": images, "annotations": [], "categories": categories}))
    assert tools["submit"](arguments) == 0
    assert "Starting anew: what is done was done with other classes;" in capfd.readouterr().out
    ids = {line.rpartition(",")[2] for line in (tmp_path / "s.csv").read_text().splitlines()[1:]}
    assert ids == {"10", "11", "12", "13"}


def test_a_picture_that_was_mended_costs_no_other_one(arguments, workspace, tools, tmp_path, monkeypatch, capfd) -> None:
    sheets = workspace / "sheets" / "train_images"
    shutil.copytree(sheets, tmp_path / "in")
    whole = (sheets / SHEETS[7]).read_bytes()
    damaged = bytearray(whole)
    damaged[len(whole) // 2 : len(whole) // 2 + 600] = bytes(600)
    (tmp_path / "in" / SHEETS[7]).write_bytes(damaged + b"rest")
    arguments = [*arguments, "--infer_dir", str(tmp_path / "in")]
    assert tools["submit"](arguments) == 1
    assert "Fetch it again" in capfd.readouterr().err
    # One that was to be mended, and one that was predicted already.
    (tmp_path / "in" / SHEETS[7]).write_bytes(whole)
    shutil.copy(sheets / SHEETS[3], tmp_path / "in" / SHEETS[0])
    batches = record_predictions(monkeypatch)
    assert tools["submit"](arguments) == 0
    printed = capfd.readouterr().out
    assert f"1 image with other files than those that were predicted: to be predicted again: {SHEETS[0]}" in printed
    assert "5 of 8 images are done" in printed
    assert batches == [*SHEETS[:2], *SHEETS[6:]]
    found = (tmp_path / "s.csv").read_bytes()
    assert tools["submit"](arguments) == 0
    assert (tmp_path / "s.csv").read_bytes() == found
