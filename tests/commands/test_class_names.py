"""Class names in what the tools write and read: they come with the weights, and are compared with the data's."""

import json
import shutil
from pathlib import Path

import pytest

from ppdet_ext.commands.convert import convert, convert_back
from ppdet_ext.config.load import load_config
from ppdet_ext.weights.files.class_names import Classes
from ppdet_ext.weights.files.paddle_file import read_data_file
from ppdet_ext.weights.find import stored_classes

DEFECTS = Classes(("defect_1", "defect_2", "defect_3", "defect_4"), (1, 2, 3, 4))
WITHOUT_DATA = ["TrainDataset=null", "EvalDataset=null", "TestDataset=null"]


def test_everything_a_training_writes_has_the_names(trained: Path) -> None:
    files = [trained / "model_final.pdparams", *trained.glob("checkpoints/*/model.pdparams")]
    assert len(files) > 1
    assert [stored_classes(file) for file in files] == [DEFECTS] * len(files)


def test_infer_names_the_classes_without_annotations(trained: Path, config: str, tools, workspace, tmp_path, capfd) -> None:
    images = ["--infer_dir", str(workspace / "sheets" / "train_images"), "--output_dir", str(tmp_path), "--save_results"]
    options = ["-o", f"weights={trained}/model_final", *WITHOUT_DATA]
    assert tools["infer"](["-c", config, *images, *options]) == 0
    out = capfd.readouterr().out
    assert "class 1" not in out
    assert "No data set tells the classes" not in out


@pytest.mark.parametrize(("names", "expected"), [
    (["defect_2", "defect_1", "defect_3", "defect_4"], "ERROR: Classes in another order."),
    (["pits", "scratches", "blotches", "patches"], "WARNING: Classes of other names."),
])  # fmt: skip
def test_eval_compares_them_with_the_data_set(names, expected, trained: Path, config, tools, tmp_path, capfd) -> None:
    options = [f"weights={trained}/model_final", f"save_dir={tmp_path}", f"EvalDataset.class_names=[{', '.join(names)}]"]
    assert tools["eval"](["-c", config, "-o", *options]) == 0
    out = capfd.readouterr().out
    assert f"{expected} {trained}/model_final.pdparams: {', '.join(DEFECTS.names)}; the data set: {', '.join(names)}" in out


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_they_go_to_mmdetection_and_back(suffix: str, trained: Path, config: str, tmp_path: Path) -> None:
    cfg = load_config(config, WITHOUT_DATA, training=False)
    theirs, ours = tmp_path / f"theirs{suffix}", tmp_path / "ours.pdparams"
    convert_back(cfg, str(trained / "model_final"), str(theirs))
    assert stored_classes(theirs) == Classes(DEFECTS.names)
    convert(cfg, str(theirs), str(ours))
    assert stored_classes(ours) == Classes(DEFECTS.names)


def test_weights_of_an_unknown_suffix_are_read_by_their_content(trained: Path, config: str, tools, tmp_path, capfd) -> None:
    shutil.copy(trained / "model_final.pdparams", tmp_path / "mine.ckpt")
    convert_back(load_config(config), str(tmp_path / "mine.ckpt"), str(tmp_path / "theirs.pth"))
    (tmp_path / "theirs.pth").rename(tmp_path / "theirs.bin")
    numbers = []
    for name in ("mine.ckpt", "theirs.bin"):
        assert tools["eval"](["-c", config, "-o", f"weights={tmp_path}/{name}", f"save_dir={tmp_path}"]) == 0
        record = json.loads((tmp_path / "tiny" / "eval.json").read_text())
        numbers.append(record["segm"])
    assert numbers[0] == numbers[1]
    assert len(read_data_file(tmp_path / "mine.ckpt")) == len(read_data_file(trained / "model_final.pdparams"))


@pytest.mark.parametrize("content", [b"\x08\x07\x12\x04onnx" * 20, b"hello", b"\x80\x04}\x8c\x05model}s."])
def test_what_holds_no_weights_is_said_to(content: bytes, config: str, tools, tmp_path: Path, capfd) -> None:
    (tmp_path / "model_final.pkl").write_bytes(content)
    assert tools["eval"](["-c", config, "-o", f"weights={tmp_path}/model_final.pkl", f"save_dir={tmp_path}"]) == 1
    error = capfd.readouterr().err
    assert f"{tmp_path}/model_final.pkl" in error
    assert "that can be read here (.pdparams, .pth, .safetensors)" in error
