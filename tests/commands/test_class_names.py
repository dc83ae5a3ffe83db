"""Class names in what the tools write and read: they come with the weights, and are compared with the data's."""

import json
import pickle
import shutil
from pathlib import Path
from types import SimpleNamespace

import paddle
import pytest

from ppdet_ext.commands.convert import convert, convert_back
from ppdet_ext.config.load import load_config
from ppdet_ext.data.datasets.relabelled import labelled_as
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.errors import UserError
from ppdet_ext.training.train import evaluated
from ppdet_ext.weights.files.class_names import Classes, class_entry
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
    (["defect_2", "defect_1", "defect_3", "defect_4"], "WARNING: Classes in another order."),
    (["pits", "scratches", "blotches", "patches"], "WARNING: Classes of other names."),
])  # fmt: skip
def test_eval_compares_them_with_the_data_set(names, expected, trained: Path, config, tools, tmp_path, capfd) -> None:
    options = [f"weights={trained}/model_final", f"save_dir={tmp_path}", f"EvalDataset.class_names=[{', '.join(names)}]"]
    assert tools["eval"](["-c", config, "-o", *options]) == 0
    out = capfd.readouterr().out
    assert f"{expected} {trained}/model_final.pdparams: {', '.join(DEFECTS.names)}; the data set: {', '.join(names)}" in out
    assert ("They are matched by name" in out) == ("defect_1" in names)


def test_weights_whose_classes_stand_in_another_order_find_the_same(
    trained: Path, config, tools, workspace, tmp_path, capfd
) -> None:
    """The head's rows turned by hand: box logits with background last, one mask for each class."""
    turn, values = [2, 0, 3, 1], dict(read_data_file(trained / "model_final.pdparams"))
    for name, value in values.items():
        if ".classify." in name:
            values[name] = value[..., [*turn, 4]]
        elif ".mask_heads." in name and ".logits." in name:
            values[name] = value[turn]
        elif "semantic_head.logits" in name:
            values[name] = value[[0, *(row + 1 for row in turn)]]
    turned = tuple(DEFECTS.names[at] for at in turn)
    entry = class_entry(Classes(turned, tuple(DEFECTS.ids[at] for at in turn)))
    paddle.save({name: paddle.to_tensor(value) for name, value in {**values, **entry}.items()}, str(tmp_path / "w.pdparams"))
    numbers, tables = [], []
    for weights in (trained / "model_final", tmp_path / "w"):
        assert tools["eval"](["-c", config, "-o", f"weights={weights}", f"save_dir={tmp_path}"]) == 0
        numbers.append(json.loads((tmp_path / "tiny" / "eval.json").read_text())["segm"])
        pictures = ["--infer_dir", str(workspace / "sheets" / "train_images"), "--output_dir", str(tmp_path / "pictures")]
        flags = [*pictures, "--save_results", "csv", "--draw_threshold", "0", "--num_images", "2", "-o", f"weights={weights}"]
        assert tools["infer"](["-c", config, *flags]) == 0
        tables.append(sorted((tmp_path / "pictures" / "measurements.csv").read_text().splitlines()))
    assert numbers[0] == pytest.approx(numbers[1])
    columns = [[[cell for at, cell in enumerate(row.split(",")) if at != 1] for row in table] for table in tables]
    assert sorted(columns[0]) == sorted(columns[1])
    assert len(columns[0]) > 5
    lists = f"{tmp_path}/w.pdparams: {', '.join(turned)}; the data set: {', '.join(DEFECTS.names)}"
    assert capfd.readouterr().out.count(f"WARNING: Classes in another order. {lists}. They are matched by name") == 2


def test_a_training_goes_on_with_the_order_it_began_with(trained: Path, config: str, tools, capfd) -> None:
    swapped = "TrainDataset.class_names=[defect_2, defect_1, defect_3, defect_4]"
    changes = ["--allow_change", "config", "dataset", "-r", str(trained / "checkpoints" / "epoch_1")]
    assert tools["train"](["-c", config, *changes, "-o", swapped, "epoch=3", f"save_dir={trained.parent}/other"]) == 1
    assert "a new run from these weights matches them by name: -o pretrain_weights=" in capfd.readouterr().err


def test_an_evaluation_in_training_goes_by_the_names(config: str, capfd) -> None:
    swapped = "EvalDataset.class_names=[defect_2, defect_1, defect_3, defect_4]"
    cfg = load_config(config, [swapped])
    trained_on, plain = load_dataset(cfg, "TrainDataset"), load_dataset(cfg, "EvalDataset")
    turned = evaluated(cfg, trained_on)
    assert (turned.class_names, turned.category_ids) == (list(DEFECTS.names), [2, 1, 3, 4])
    assert (len(turned), turned.account, turned.image_dir) == (len(plain), plain.account, plain.image_dir)
    for before, after in zip(plain.records, turned.records, strict=True):
        assert [plain.class_names[own] for own in before.labels] == [turned.class_names[own] for own in after.labels]
        assert before.masks is after.masks
    assert any(len(record.labels) for record in turned.records)
    again = pickle.loads(pickle.dumps(turned))
    assert again.sample(0).labels.tolist() == turned.records[0].labels.tolist()
    twice = SimpleNamespace(class_names=["a", "a", "b"])
    with pytest.raises(UserError, match=r"TrainDataset: a, b, a; EvalDataset: a, a, b\. They cannot be matched by name"):
        labelled_as(twice, ["a", "b", "a"], "TrainDataset", "EvalDataset")
    assert labelled_as(plain, plain.class_names, "x", "y") is plain


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
