"""The tools in this process, on a tiny HTC: their flags, and what they write."""

import argparse
import csv
import json
import os
import re
import signal
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from ppdet_ext.commands import flags
from ppdet_ext.commands.train import resume_command
from ppdet_ext.training.hooks import LogLine
from ppdet_ext.weights.files.paddle_file import read_data_file

FLAGS = {
    "train": {"-c/--config": None, "-o/--opt": [], "--traceback": False, "--debug": False,
              "--eval": False, "-r/--resume": None, "--allow_change": [],
              "--amp": False, "--use_vdl": False, "--vdl_log_dir": None, "--debug_run": False},
    "eval": {"-c/--config": None, "-o/--opt": [], "--traceback": False, "--debug": False,
              "--classwise": False,
             "--save_prediction_only": False, "--output_eval": None, "--metric": None, "--postprocess": None},
    "infer": {"-c/--config": None, "-o/--opt": [], "--traceback": False, "--debug": False,
              "--infer_img": None, "--infer_dir": None,
              "--output_dir": "output/infer", "--draw_threshold": None, "--save_results": False, "--postprocess": None,
              "--save_probabilities": None, "--draw_maps": False, "--num_images": None, "--mm_per_pixel": None},
}  # fmt: skip


@pytest.mark.parametrize("tool", FLAGS)
def test_flags_are_frozen(tool: str) -> None:
    """A new flag is a promise for ever; settings belong into the configuration (-o)."""
    parser: argparse.ArgumentParser = getattr(flags, f"{tool}_parser")()
    found = {"/".join(action.option_strings): action.default for action in parser._actions if action.dest != "help"}
    assert found == FLAGS[tool]


def test_train_writes_ppdets_files_and_the_records(trained: Path) -> None:
    # Other tools may have written their own into the folder since.
    names = {path.name for path in trained.iterdir()} - {"eval.json", "tune", "tuned.yml"}
    exported = {"best_model.pdparams", "model_final.pdparams"}
    assert names == {"checkpoints", "config.yml", "environment.json", "metrics.jsonl", "train.log"} | exported
    assert {path.name for path in (trained / "checkpoints").iterdir()} == {"epoch_0", "epoch_1"}
    files = {path.name for path in (trained / "checkpoints" / "epoch_1").iterdir()}
    assert files == {"config.yml", "manifest.json", "model.pdopt", "model.pdparams", "state.json"}
    environment = json.loads((trained / "environment.json").read_text())
    assert environment["versions"]["paddle"] == paddle.__version__
    lines = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert [(line["kind"], line["epoch"]) for line in lines] == [
        ("train", 0), ("train", 0), ("eval", 0), ("train", 1), ("train", 1), ("eval", 1)]  # fmt: skip
    assert len(lines[2]["bbox"]) == len(lines[2]["segm"]) == 12
    assert {"loss_rpn_cls", "loss_semantic", "loss_bbox_cls_stage0", "loss_mask_stage2", "loss"} <= set(
        lines[0]["losses"])  # fmt: skip


def test_resume_auto_gives_the_same_bits_as_training_through(
    trained: Path, config: str, tools, tmp_path, monkeypatch, capfd
) -> None:
    override = ["-o", f"save_dir={tmp_path}", "worker_num=1"]
    after_step = LogLine.after_step

    def interrupt(self: LogLine, state) -> None:
        after_step(self, state)
        if (state.epoch, state.step) == (1, 1):
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(LogLine, "after_step", interrupt)
    arguments = ["-c", config, "--eval", *override]
    assert tools["train"](arguments) == 130
    error = capfd.readouterr().err
    assert f"Interrupted. Saved: {tmp_path}/tiny/checkpoints/epoch_1_step_2. Go on from there with: python " in error
    assert "tools/train.py -r auto -c" in error
    assert "Traceback" not in error
    monkeypatch.setattr(LogLine, "after_step", after_step)
    assert tools["train"](["-r", "auto", *arguments]) == 0
    assert "epoch 1, 2 steps done of 2 epochs" in capfd.readouterr().out
    last = "checkpoints/epoch_1/model"
    for name in (f"{last}.pdparams", f"{last}.pdopt", "model_final.pdparams", "best_model.pdparams"):
        assert (trained / name).read_bytes() == (tmp_path / "tiny" / name).read_bytes(), name
    assert (trained / "metrics.jsonl").read_text() == (tmp_path / "tiny" / "metrics.jsonl").read_text()
    assert tools["train"](["-r", "auto", *arguments]) == 0
    assert "All 2 epochs are trained already" in capfd.readouterr().out


def test_log_line_and_notices(trained: Path, config: str, tools, tmp_path: Path, capfd) -> None:
    assert tools["train"](["-c", config, "--amp", "-r", "auto", "-o", "epoch=1", f"save_dir={tmp_path}"]) == 0
    out = capfd.readouterr().out
    assert "--amp has no effect on a CPU" in out
    assert "No checkpoint in" in out
    number = r"\d+\.\d{3}"
    assert re.search(
        rf"Epoch: \[0\] \[2/3\] learning_rate: 0\.001000 loss: {number}\d \(rpn {number} semantic {number} bbox {number} "
        rf"mask {number}\) eta: 0:00:\d\d batch_cost: {number} data_cost: {number} ips: \d+\.\d\d images/s", out)  # fmt: skip
    assert re.search(r"Training HybridTaskCascade, [\d,]+ parameters, on cpu\n", out)
    assert re.search(r"\d+ images × 1 epoch, 3 steps of \d images in each\n", out)
    assert out.count("Weights from scratch\n") == out.count(f"Results go to {tmp_path}/tiny\n") == 1
    assert tools["train"](["-c", config, "-o", "epoch=1", f"save_dir={tmp_path}"]) == 0
    assert re.search(r"Moved what an earlier run left in \S+/tiny to earlier_1: epoch_0, model_final", capfd.readouterr().out)


def test_pretrained_weights_start_a_new_run(trained: Path, config: str, tools, tmp_path: Path, capfd) -> None:
    overrides = [f"pretrain_weights={trained}/model_final.pdparams", "epoch=1", f"save_dir={tmp_path}"]
    assert tools["train"](["-c", config, "-o", *overrides]) == 0
    out = capfd.readouterr().out
    assert re.search(r"Pretrained .*model_final\.pdparams: \d+ tensors loaded, 0 of the model not", out)
    assert f"Weights from {trained}/model_final.pdparams\n" in out


def test_eval_prints_24_numbers_and_classes(trained: Path, config: str, tools, tmp_path: Path, capfd) -> None:
    weights = f"weights={trained}/model_final"
    assert tools["eval"](["-c", config, "--classwise", "--output_eval", str(tmp_path), "-o", weights]) == 0
    out = capfd.readouterr().out
    assert out.count("Average Precision") == 12
    assert out.count("Average Recall") == 12
    assert re.search(r"class +AP +AP50 +instances\n(defect_\d .*\n){4}", out)
    numbers = json.loads((tmp_path / "eval.json").read_text())
    last = json.loads((trained / "metrics.jsonl").read_text().splitlines()[-1])
    assert {kind: numbers[kind] for kind in ("bbox", "segm")} == {kind: last[kind] for kind in ("bbox", "segm")}


def test_eval_saves_predictions_only(trained: Path, config: str, tools, tmp_path: Path, capfd) -> None:
    arguments = ["-c", config, "--save_prediction_only", "--output_eval", str(tmp_path / "new")]
    assert tools["eval"]([*arguments, "-o", f"weights={trained}/model_final"]) == 0
    assert "Average Precision" not in capfd.readouterr().out
    boxes, masks = (json.loads((tmp_path / "new" / name).read_text()) for name in ("bbox.json", "mask.json"))
    assert len(boxes) == len(masks) > 0
    assert masks[0]["segmentation"]["size"] == [64, 128]


def test_infer_then_submit(trained: Path, config: str, workspace: Path, tools, tmp_path: Path) -> None:
    weights = ["-o", f"weights={trained}/model_final"]
    arguments = ["-c", config, "--infer_dir", str(workspace / "sheets" / "train_images"), "--draw_threshold", "0.01"]
    assert tools["infer"]([*arguments, "--output_dir", str(tmp_path), "--save_results", *weights]) == 0
    pictures = sorted(path.name for path in tmp_path.glob("*.jpg"))
    assert pictures == [f"sheet_{i:05d}.jpg" for i in range(8)]
    source = cv2.imread(str(workspace / "sheets" / "train_images" / pictures[0]))
    drawn = cv2.imread(str(tmp_path / pictures[0]))
    assert drawn.shape == source.shape
    found = json.loads((tmp_path / "bbox.json").read_text())
    images = json.loads((tmp_path / "images.json").read_text())
    assert [image["file_name"] for image in images] == pictures
    assert {result["image_id"] for result in found} <= {image["id"] for image in images}
    if any(result["image_id"] == 0 and result["score"] > 0.01 for result in found):
        assert np.abs(drawn.astype(int) - source).max() > 60

    files = tmp_path / "a.csv", tmp_path / "b.csv"
    common = ["-c", config, "--draw_threshold", "0.05"]
    assert tools["submit"]([*common, "--results", str(tmp_path), "--output", str(files[0])]) == 0
    assert tools["submit"]([*common, "--output", str(files[1]), *weights]) == 0
    assert files[0].read_text() == files[1].read_text()
    rows = list(csv.DictReader(files[0].open()))
    assert [(row["ImageId"], row["ClassId"]) for row in rows] == [(name, str(k)) for name in pictures for k in range(1, 5)]


def test_infer_one_image_under_its_own_name(trained: Path, config: str, workspace: Path, tools, tmp_path: Path) -> None:
    image = tmp_path / "Lone sheet.png"
    cv2.imwrite(str(image), cv2.imread(str(workspace / "sheets" / "train_images" / "sheet_00000.jpg")))
    arguments = ["-c", config, "--infer_img", str(image), "--output_dir", str(tmp_path / "out")]
    assert tools["infer"]([*arguments, "-o", f"weights={trained}/best_model"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Lone sheet.png"]


@pytest.mark.parametrize(("given", "expected"), [
    (["-c", "a.yml", "--eval"], "python tools/train.py -r auto -c a.yml --eval"),
    (["-r", "x", "-o", "a=[1, 2]", "b=2"], "python tools/train.py -r auto -o 'a=[1, 2]' b=2"),
    (["--resume=auto", "-o", "a=1"], "python tools/train.py -r auto -o a=1"),
])  # fmt: skip
def test_resume_command(given: list[str], expected: str) -> None:
    assert resume_command("tools/train.py", given) == expected


def test_sample_is_made_once_and_other_data_is_left_alone(config: str, tools, tmp_path: Path, capfd) -> None:
    overrides = ["SampleData={images: 8, height: 64, width: 128}", f"TrainDataset.dataset_dir={tmp_path}/made",
                 "epoch=1", f"save_dir={tmp_path}/out"]  # fmt: skip
    assert tools["train"](["-c", config, "-o", *overrides]) == 0
    assert f"Making 8 sample sheets in {tmp_path}/made (once)" in capfd.readouterr().out
    assert tools["train"](["-c", config, "-r", "auto", "-o", *overrides]) == 0
    assert "Making" not in capfd.readouterr().out
    own = tmp_path / "own"
    own.mkdir()
    (own / "notes.txt").write_text("mine")
    assert tools["train"](["-c", config, "-o", *overrides, f"TrainDataset.dataset_dir={own}"]) == 1
    assert [path.name for path in own.iterdir()] == ["notes.txt"]


def test_invented_category_ids_are_said_where_results_are_saved(trained, config, workspace, tools, tmp_path, capfd) -> None:
    picture = str(workspace / "sheets" / "train_images" / "sheet_00000.jpg")
    weights = f"weights={trained}/checkpoints/epoch_0"
    arguments = ["-c", config, "--infer_img", picture, "--output_dir", str(tmp_path), "-o", weights]
    unknown = ["TrainDataset=null", "EvalDataset=null", "TestDataset=null"]
    assert tools["infer"](["--save_results", *arguments]) == 0
    assert tools["infer"]([*arguments, *unknown]) == 0
    assert "WARNING: No data set tells the classes" not in capfd.readouterr().out
    # These weights know the names and ids, those of an earlier version or of another tool do not.
    assert tools["infer"](["--save_results", *arguments, *unknown]) == 0
    assert "WARNING: No data set tells the classes" not in capfd.readouterr().out
    without = tmp_path / "without.pdparams"
    paddle.save(read_data_file(trained / "checkpoints/epoch_0/model.pdparams"), str(without))
    assert tools["infer"](["--save_results", *arguments[:-1], f"weights={without}", *unknown]) == 0
    assert "WARNING: No data set tells the classes, so the results have category ids 1 to 4" in capfd.readouterr().out


def test_submission_log_tells_rows_from_masks(workspace, config, tools, tmp_path, capfd) -> None:
    mask = {"size": [64, 128], "counts": [3, 5, 64 * 128 - 8]}
    results = [{"image_id": 0, "category_id": 2, "score": score, "segmentation": mask} for score in (0.9, 0.8, 0.1)]
    (tmp_path / "mask.json").write_text(json.dumps(results))
    (tmp_path / "images.json").write_text(json.dumps([{"id": i, "file_name": f"{i}.jpg"} for i in range(3)]))
    assert tools["submit"](["-c", config, "--results", str(tmp_path), "--output", str(tmp_path / "s.csv")]) == 0
    out = capfd.readouterr().out
    assert "12 rows, one for each of 3 images and each of 4 classes: 1 with a mask, 11 blank" in out


def test_visualdl_itself_writes_a_log_of_each_run_apart(config: str, tools, tmp_path: Path, capfd) -> None:
    pytest.importorskip("visualdl")
    arguments = ["-c", config, "--use_vdl", "-o", "epoch=1", f"save_dir={tmp_path}"]
    assert tools["train"](arguments) == 0
    folder = tmp_path / "tiny" / "vdl"
    logs = list(folder.glob("vdlrecords.*.log"))
    assert len(logs) == 1
    assert b"sheet_000" not in logs[0].read_bytes()
    assert b"loss_rpn_cls" in logs[0].read_bytes()
    assert f"See curves with: visualdl --logdir {folder}\n" in capfd.readouterr().out
    assert tools["train"](["--vdl_log_dir", str(tmp_path / "chosen"), *arguments]) == 0
    assert len(list((tmp_path / "chosen").glob("vdlrecords.*.log"))) == 1


def test_visualdl_has_pictures_of_an_evaluation(config: str, tools, tmp_path: Path) -> None:
    pytest.importorskip("visualdl")
    arguments = ["-c", config, "--use_vdl", "--eval", "-o", "epoch=1", "vdl_pictures=2"]
    weights = []
    for name, more in (("with", []), ("without", ["vdl_pictures=0"])):
        assert tools["train"]([*arguments, f"save_dir={tmp_path / name}", *more]) == 0
        (log,) = (tmp_path / name / "tiny" / "vdl").glob("vdlrecords.*.log")
        assert len(set(re.findall(rb"sheet_\d+.jpg", log.read_bytes()))) == (2 if name == "with" else 0)
        weights.append(paddle.load(str(tmp_path / name / "tiny" / "model_final.pdparams"), return_numpy=True))
    # A look at the model changes nothing.
    assert all(np.array_equal(value, weights[1][key]) for key, value in weights[0].items() if isinstance(value, np.ndarray))
