"""The tools in this process, on a tiny HTC: what they say to bad input and when training goes wrong."""

import multiprocessing
import re
from pathlib import Path

import cv2
import numpy as np
import paddle
import pytest

from ppdet_ext.training.hooks import LogLine
from ppdet_ext.weights.files.paddle_file import read_data_file


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
    ("train", ["-c", "{config}", "-o", "TrainDataset.dataset_dir={tmp}/none"], "none does not exist; dataset_dir names it"),
    ("train", ["-c", "{config}", "-o", "use_gpu=true"], "Install paddlepaddle-gpu"),
    ("train", ["-c", "{config}", "-o", "LearningRate.schedulers.1.steps=999"], "-o LearningRate.schedulers.1.steps="),
    ("train", ["-c", "{config}", "-r", "{run}/model_finale"], "model_final.pdparams"),
    ("train", ["-c", "{config}", "-r", "{tmp}/cut"], "cut.pdopt is missing"),
    ("train", ["-c", "{config}", "-o", "HTCRoIHead.fc_channels=24", "-r", "{zero}", "--allow_change", "config"],
     "of another architecture"),
    ("train", ["-c", "{config}", "-o", "OptimizerBuilder.optimizer={{type: Adam}}", "-r", "{zero}", "--allow_change", "config"],
     "does not belong"),
    ("train", ["-c", "{config}", "-o", "HTCRoIHead.fc_channels=24", "-r", "{run}"], "config: HTCRoIHead.fc_channels: 16 -> 24"),
    ("train", ["-c", "{config}", "-o", "TrainReader.batch_size=1", "-r", "{run}"], "--allow_change batch_size"),
    ("train", ["-c", "{config}", "-r", "7"], "There is: none"),
    ("train", ["-c", "{config}", "-o", "pretrain_weights={tmp}/half"], "fewer than half"),
    ("eval", ["-c", "{config}"], "No weights are configured"),
    ("eval", ["-c", "{config}", "-o", "weights={run}/best_modle"], "best_model.pdparams"),
    ("eval", ["-c", "{config}", "-o", "weights={tmp}/cut.pdparams"], "truncated or damaged"),
    ("eval", ["-c", "{config}", "-o", "weights={zero}", "HTCRoIHead.fc_channels=24"], "shape [16"),
    ("eval", ["-c", "{config}", "-o", "weights={tmp}/half"], "missing in the file"),
    ("eval", ["-c", "{config}", "-o", "weights={zero}", "--output_eval", "{tmp}/file/x"], "Cannot write"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "--infer_img", "{tmp}/no.jpg"], "no such picture"),
    # Before the weights, which a large ensemble reads for minutes.
    ("infer", ["-c", "{config}", "-o", "weights={tmp}/none", "--infer_img", "{tmp}/no.jpg"], "no such picture"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "--infer_dir", "{tmp}/empty"], "no picture there"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "--infer_img", "{tmp}/grey.jpg"], "grey.jpg"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "--output_dir", "{tmp}/file"], "Cannot write"),
    ("train", ["-c", "{config}", "--eval", "-o", "EvalDataset=null"], "no EvalDataset"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "TestDataset=null"], "Nothing to predict: give --infer_img"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "--output_dir", "{tmp}/file"], "another --output_dir"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "--infer_dir", "{tmp}/in", "--output_dir", "{tmp}/in/../in"],
     "would be written over them"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "--draw_threshold", "1.5"], "--draw_threshold is 1.5"),
    ("infer", ["-c", "{config}", "-o", "weights={zero}", "--draw_threshold", "nan"], "--draw_threshold is nan"),
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
    zero = trained / "checkpoints" / "epoch_0"
    filled = [text.format(config=config, tmp=tmp_path, run=trained, zero=zero) for text in arguments]
    assert tools[tool]([*filled, *defaults]) == 1
    error = capfd.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert "Traceback" not in error


def test_divergence_stops_with_its_own_code_and_names_images(config: str, tools, tmp_path: Path, capfd) -> None:
    overrides = ["LearningRate.base_lr=1e30", "OptimizerBuilder.clip_grad_by_norm=null", f"save_dir={tmp_path}"]
    assert tools["train"](["-c", config, "-o", *overrides]) == 3
    error = capfd.readouterr().err
    images = r"sheet_\d{5}\.jpg, sheet_\d{5}\.jpg"
    assert re.search(rf"in epoch \d, step \d, images of this batch: {images}; training stopped\.", error)
    assert "Traceback" not in error


@pytest.mark.parametrize("flag", ["--traceback", "--debug"])
def test_traceback_lets_the_exception_through(flag: str, tools, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        tools["train"]([flag, "-c", str(tmp_path / "none.yml")])


def test_unknown_flag_is_argparses_error(tools, capfd) -> None:
    with pytest.raises(SystemExit) as caught:
        tools["train"](["--evla"])
    assert caught.value.code == 2
    assert "unrecognized arguments: --evla Did you mean '--eval'?" in capfd.readouterr().err


def test_dead_data_worker_is_one_message(config: str, tools, tmp_path: Path, monkeypatch, capfd) -> None:
    after_step = LogLine.after_step

    def kill(self: LogLine, state) -> None:
        after_step(self, state)
        for worker in multiprocessing.active_children():
            worker.kill()
            worker.join()

    monkeypatch.setattr(LogLine, "after_step", kill)
    assert tools["train"](["-c", config, "-o", "worker_num=1", f"save_dir={tmp_path}", "TrainReader.batch_size=1"]) == 1
    error = capfd.readouterr().err
    assert re.match(r"error: data worker 0 died \(exit code -9", error)
    assert "Traceback" not in error
