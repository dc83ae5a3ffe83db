"""The tools in this process, on a tiny HTC: what they write, and what they say to bad input."""

import argparse
import csv
import json
import re
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from ppdet_ext.engine import cli
from ppdet_ext.engine.hooks import LogLine
from ppdet_ext.engine.unpickle import read_data_file

FLAGS = {
    "train": {"-c/--config": None, "-o/--opt": [], "--debug": False, "--eval": False, "-r/--resume": None,
              "--amp": False, "--use_vdl": False, "--vdl_log_dir": "vdl_log_dir/scalar"},
    "eval": {"-c/--config": None, "-o/--opt": [], "--debug": False, "--classwise": False,
             "--save_prediction_only": False, "--output_eval": None},
    "infer": {"-c/--config": None, "-o/--opt": [], "--debug": False, "--infer_img": None, "--infer_dir": None,
              "--output_dir": "output/infer", "--draw_threshold": 0.5, "--save_results": False},
    "submit": {"-c/--config": None, "-o/--opt": [], "--debug": False, "--infer_img": None, "--infer_dir": None,
               "--results": None, "--output": "output/submission.csv", "--draw_threshold": 0.5,
               "--style": "imageid_classid"},
}  # fmt: skip


@pytest.mark.parametrize("tool", FLAGS)
def test_flags_are_frozen(tool: str) -> None:
    """A new flag is a promise for ever; settings belong into the configuration (-o)."""
    parser: argparse.ArgumentParser = getattr(cli, f"{tool}_parser")()
    found = {"/".join(action.option_strings): action.default for action in parser._actions if action.dest != "help"}
    assert found == FLAGS[tool]


def test_train_writes_ppdets_files_and_the_records(trained: Path) -> None:
    names = {path.name for path in trained.iterdir()}
    stems = ("0", "best_model", "model_final")
    assert names == {"config.yml", "environment.json", "metrics.jsonl"} | {
        f"{stem}{suffix}" for stem in stems for suffix in (".pdparams", ".pdopt", ".json")}  # fmt: skip
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

    def interrupt(self: LogLine, trainer) -> None:
        after_step(self, trainer)
        if (trainer.epoch, trainer.step) == (1, 1):
            raise KeyboardInterrupt

    monkeypatch.setattr(LogLine, "after_step", interrupt)
    arguments = ["-c", config, "--eval", *override]
    assert tools["train"](arguments) == 130
    error = capfd.readouterr().err
    assert f"Interrupted. Saved: {tmp_path}/tiny/0. Go on from there with: python tools/train.py -r auto -c" in error
    assert "Traceback" not in error
    monkeypatch.setattr(LogLine, "after_step", after_step)
    assert tools["train"](["-r", "auto", *arguments]) == 0
    assert "1 of 2 epochs done" in capfd.readouterr().out
    for suffix in (".pdparams", ".pdopt"):
        one = read_data_file(trained / f"model_final{suffix}")
        two = read_data_file(tmp_path / "tiny" / f"model_final{suffix}")
        assert list(one) == list(two)
        for key, value in one.items():
            same = value.tobytes() == two[key].tobytes() if isinstance(value, np.ndarray) else value == two[key]
            assert same, key
    assert (trained / "metrics.jsonl").read_text() == (tmp_path / "tiny" / "metrics.jsonl").read_text()
    assert tools["train"](["-r", "auto", *arguments]) == 0
    assert "All 2 epochs are trained already" in capfd.readouterr().out


def test_log_line_and_notices(trained: Path, config: str, tools, tmp_path: Path, capfd) -> None:
    assert tools["train"](["-c", config, "--amp", "-r", "auto", "-o", "epoch=1", f"save_dir={tmp_path}"]) == 0
    out = capfd.readouterr().out
    assert "--amp has no effect on a CPU" in out
    assert "No complete checkpoint in" in out
    number = r"\d+\.\d{6}"
    stages = " ".join(f"loss_bbox_cls_stage{k}: {number} loss_bbox_reg_stage{k}: {number} loss_mask_stage{k}: {number}"
                      for k in range(3))  # fmt: skip
    assert re.search(
        rf"Epoch: \[0\] \[2/3\] learning_rate: 0\.001000 loss_rpn_cls: {number} loss_rpn_reg: {number} "
        rf"loss_semantic: {number} {stages} loss: {number} eta: 0:00:\d\d batch_cost: \d+\.\d{{4}} "
        r"data_cost: \d+\.\d{4} ips: \d+\.\d{4} images/s", out)  # fmt: skip
    assert tools["train"](["-c", config, "-o", "epoch=1", f"save_dir={tmp_path}"]) == 0
    assert "holds checkpoints of an earlier run (model_final)" in capfd.readouterr().out


def test_pretrained_weights_start_a_new_run(trained: Path, config: str, tools, tmp_path: Path, capfd) -> None:
    overrides = [f"pretrain_weights={trained}/model_final.pdparams", "epoch=1", f"save_dir={tmp_path}"]
    assert tools["train"](["-c", config, "-o", *overrides]) == 0
    assert re.search(r"Pretrained .*model_final\.pdparams: \d+ tensors loaded, 0 of the model not", capfd.readouterr().out)


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
    assert [row["ImageId_ClassId"] for row in rows] == [f"{name}_{k}" for name in pictures for k in range(1, 5)]


def test_infer_one_image_under_its_own_name(trained: Path, config: str, workspace: Path, tools, tmp_path: Path) -> None:
    image = tmp_path / "Lone sheet.png"
    cv2.imwrite(str(image), cv2.imread(str(workspace / "sheets" / "train_images" / "sheet_00000.jpg")))
    arguments = ["-c", config, "--infer_img", str(image), "--output_dir", str(tmp_path / "out")]
    assert tools["infer"]([*arguments, "-o", f"weights={trained}/best_model"]) == 0
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["Lone sheet.png"]


def damaged(source: Path, target: Path) -> Path:
    target.write_bytes(source.read_bytes()[:-100])
    return target


def halved(source: Path, target: Path) -> Path:
    """Fewer than half of the tensors keep their name."""
    content = read_data_file(source)
    renamed = {(name if i % 3 == 0 else f"x.{i}"): paddle.to_tensor(value)
               for i, (name, value) in enumerate(content.items())}  # fmt: skip
    paddle.save(renamed, str(target))
    return target


@pytest.mark.parametrize(("tool", "arguments", "message"), [
    ("train", ["-c", "configs/htc/steel_smple.yml"], "Nearest existing one: configs/htc/steel_sample.yml"),
    ("train", ["-c", "{config}", "-o", "epochs=3", "TrainReader.batchsize=1"], "Did you mean 'epoch'?"),
    ("train", ["-c", "{config}", "-o", "epochs=3", "TrainReader.batchsize=1"], "Did you mean 'batch_size'?"),
    ("train", ["-c", "{config}", "-o", "num_classes=5"], "num_classes is 5, but TrainDataset has 4 classes"),
    ("train", ["-c", "{config}", "-o", "save_dir={tmp}/file"], "Cannot write"),
    ("train", ["-c", "{config}", "-o", "TrainReader.batch_size=16"], "fewer than one batch"),
    ("train", ["-c", "{config}", "-o", "TrainDataset.dataset_dir={tmp}/none"], "kaggle.com/c/severstal"),
    ("train", ["-c", "{config}", "-o", "use_gpu=true"], "Install paddlepaddle-gpu"),
    ("train", ["-c", "{config}", "-o", "LearningRate.schedulers.1.steps=999"], "Shorten LinearWarmup.steps"),
    ("train", ["-c", "{config}", "-r", "{run}/model_finale"], "model_final.pdparams"),
    ("train", ["-c", "{config}", "-r", "{tmp}/cut"], "cut.pdopt is missing"),
    ("train", ["-c", "{config}", "-o", "HTCRoIHead.fc_channels=24", "-r", "{run}/0"], "of another architecture"),
    ("train", ["-c", "{config}", "-o", "OptimizerBuilder.optimizer={{type: Adam}}", "-r", "{run}/0"], "does not belong"),
    ("train", ["-c", "{config}", "-o", "pretrain_weights={tmp}/half"], "fewer than half"),
    ("eval", ["-c", "{config}"], "No weights are configured"),
    ("eval", ["-c", "{config}", "-o", "weights={run}/best_modle"], "best_model.pdparams"),
    ("eval", ["-c", "{config}", "-o", "weights={tmp}/cut.pdparams"], "truncated or damaged"),
    ("eval", ["-c", "{config}", "-o", "weights={run}/0", "HTCRoIHead.fc_channels=24"], "shape [16"),
    ("eval", ["-c", "{config}", "-o", "weights={tmp}/half"], "missing in the file"),
    ("eval", ["-c", "{config}", "-o", "weights={run}/0", "--output_eval", "{tmp}/file/x"], "Cannot write"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "--infer_img", "{tmp}/no.jpg"], "no such picture"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "--infer_dir", "{tmp}/empty"], "no picture there"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "--infer_img", "{tmp}/grey.jpg"], "grey.jpg"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "--output_dir", "{tmp}/file"], "Cannot write"),
    ("train", ["-c", "{config}", "--eval", "-o", "EvalDataset=null"], "no EvalDataset"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "TestDataset=null"], "Nothing to predict: give --infer_img"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "--output_dir", "{tmp}/file"], "another --output_dir"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "--infer_dir", "{tmp}/in", "--output_dir", "{tmp}/in/../in"],
     "would be written over them"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "--draw_threshold", "1.5"], "--draw_threshold is 1.5"),
    ("infer", ["-c", "{config}", "-o", "weights={run}/0", "--draw_threshold", "nan"], "--draw_threshold is nan"),
    ("submit", ["-c", "{config}", "--results", "{tmp}", "--draw_threshold", "-1"], "--draw_threshold is -1"),
    ("train", ["-c", "{config}", "--use_vdl", "--vdl_log_dir", "{tmp}/file/vdl"], "another --vdl_log_dir"),
    ("submit", ["-c", "{config}", "--results", "{tmp}"], "make it with infer.py --save_results"),
])  # fmt: skip
def test_bad_input_is_one_message_and_no_traceback(tool, arguments, message, trained, config, tools, tmp_path, capfd) -> None:
    (tmp_path / "file").write_text("in the way")
    (tmp_path / "empty").mkdir()
    (tmp_path / "in").mkdir()
    cv2.imwrite(str(tmp_path / "in" / "a.png"), np.zeros((64, 128, 3), np.uint8))
    (tmp_path / "grey.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    damaged(trained / "model_final.pdparams", tmp_path / "cut.pdparams")
    halved(trained / "model_final.pdparams", tmp_path / "half.pdparams")
    defaults = [] if any("save_dir" in text for text in arguments) else ["-o", f"save_dir={tmp_path}/out"]
    filled = [text.format(config=config, tmp=tmp_path, run=trained) for text in arguments]
    assert tools[tool]([*filled, *defaults]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def test_divergence_stops_with_its_own_code_and_names_images(config: str, tools, tmp_path: Path, capfd) -> None:
    overrides = ["LearningRate.base_lr=1e30", "OptimizerBuilder.clip_grad_by_norm=null", f"save_dir={tmp_path}"]
    assert tools["train"](["-c", config, "-o", *overrides]) == 3
    error = capfd.readouterr().err
    assert re.search(r"in epoch \d, step \d; training stopped\. Images of this batch: sheet_\d{5}\.jpg, sheet_", error)
    assert "Traceback" not in error


def test_debug_lets_the_exception_through(tools, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        tools["train"](["--debug", "-c", str(tmp_path / "none.yml")])


def test_unknown_flag_is_argparses_error(tools, capfd) -> None:
    with pytest.raises(SystemExit) as caught:
        tools["train"](["--evla"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --evla" in capfd.readouterr().err


@pytest.mark.parametrize(("given", "expected"), [
    (["-c", "a.yml", "--eval"], "python tools/train.py -r auto -c a.yml --eval"),
    (["-r", "x", "-o", "a=[1, 2]", "b=2"], "python tools/train.py -r auto -o 'a=[1, 2]' b=2"),
    (["--resume=auto", "-o", "a=1"], "python tools/train.py -r auto -o a=1"),
])  # fmt: skip
def test_resume_command(given: list[str], expected: str) -> None:
    assert cli.resume_command("tools/train.py", given) == expected


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
    arguments = ["-c", config, "--infer_img", picture, "--output_dir", str(tmp_path), "-o", f"weights={trained}/0"]
    unknown = ["TrainDataset=null", "EvalDataset=null", "TestDataset=null"]
    assert tools["infer"](["--save_results", *arguments]) == 0
    assert tools["infer"]([*arguments, *unknown]) == 0
    assert "WARNING: No data set tells the classes" not in capfd.readouterr().out
    assert tools["infer"](["--save_results", *arguments, *unknown]) == 0
    assert "WARNING: No data set tells the classes, so the results have category ids 1 to 4" in capfd.readouterr().out


def test_submission_log_tells_rows_from_masks(workspace, config, tools, tmp_path, capfd) -> None:
    mask = {"size": [64, 128], "counts": [3, 5, 64 * 128 - 8]}
    results = [{"image_id": 0, "category_id": 2, "score": score, "segmentation": mask} for score in (0.9, 0.8, 0.1)]
    (tmp_path / "mask.json").write_text(json.dumps(results))
    (tmp_path / "images.json").write_text(json.dumps([{"id": i, "file_name": f"{i}.jpg"} for i in range(3)]))
    assert tools["submit"](["-c", config, "--results", str(tmp_path), "--output", str(tmp_path / "s.csv")]) == 0
    out = capfd.readouterr().out
    assert "12 rows, one for each of 3 images and each of 4 classes: 1 with a mask, 11 blank" in out


def test_dead_data_worker_is_one_message(config: str, tools, tmp_path: Path, monkeypatch, capfd) -> None:
    after_step = LogLine.after_step

    def kill(self: LogLine, trainer) -> None:
        after_step(self, trainer)
        for worker in trainer.loader._workers:
            worker.process.kill()
            worker.process.join()

    monkeypatch.setattr(LogLine, "after_step", kill)
    assert tools["train"](["-c", config, "-o", "worker_num=1", f"save_dir={tmp_path}", "TrainReader.batch_size=1"]) == 1
    error = capfd.readouterr().err
    assert re.match(r"error: data worker 0 died \(exit code -9", error)
    assert "Traceback" not in error


def test_visualdl_itself_writes_a_log(config: str, tools, tmp_path: Path) -> None:
    pytest.importorskip("visualdl")
    arguments = ["--use_vdl", "--vdl_log_dir", str(tmp_path / "vdl"), "-o", "epoch=1", f"save_dir={tmp_path}"]
    assert tools["train"](["-c", config, *arguments]) == 0
    logs = list((tmp_path / "vdl").glob("vdlrecords.*.log"))
    assert len(logs) == 1
    assert b"loss_rpn_cls" in logs[0].read_bytes()
