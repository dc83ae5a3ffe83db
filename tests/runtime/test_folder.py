"""What is no exported model, or not the one that was exported, is refused in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from runtime_models import READER, write_folder

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import digest
from ppdet_ext.runtime.folder import ExportedModel
from ppdet_ext.runtime.predictor import Predictor


def refused(folder: Path, message: str) -> None:
    with pytest.raises(UserError, match=message):
        ExportedModel.load(folder)


def test_what_is_read(tmp_path: Path) -> None:
    model = ExportedModel.load(write_folder(tmp_path))
    assert (model.input, model.batch, model.sizes) == ("pixels", 1, ((8, 64), (8, 64)))
    assert (model.classes, model.category_ids) == (("pit", "scratch"), (7, 3))
    assert [type(one).__name__ for one in model.resizes] == ["ResizeFixed"]


def test_folders_that_are_no_exported_model(tmp_path: Path) -> None:
    write_folder(tmp_path / "steel")
    refused(tmp_path / "stel", rf"There is no exported model in .*stel\. Did you mean '{tmp_path}/steel'")
    (tmp_path / "empty").mkdir()
    refused(tmp_path / "empty", r"empty is empty; an exported model has inference\.yml")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.yml").write_text("epoch: 1")
    refused(tmp_path / "run", r"python tools/export\.py -c \S*config\.yml\.$")
    (tmp_path / "run" / "best_model.pdparams").touch()
    refused(tmp_path / "run", r"config\.yml -o weights=\S*run/best_model\.$")
    refused(tmp_path / "run", r"run is the folder of a run\. .*pip install .\.\[train\]. in the checkout.*tools/export\.py -c ")
    (tmp_path / "run" / "config.yml").rename(tmp_path / "run" / "other.yml")
    refused(tmp_path / "run", r"run is no exported model: it has no inference\.yml")
    refused(tmp_path / "steel" / "model.onnx", r"model\.onnx is a file; give its folder, .*steel, which has inference\.yml")
    refused(tmp_path, r"is no exported model: .* There are exported models in it: steel\.$")


def test_files_that_are_not_those_exported(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    whole = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    refused(folder, r"model\.onnx is damaged or of another model: its SHA-256")
    (folder / "model.onnx").unlink()
    refused(folder, r"model\.onnx is missing; inference\.yml names it")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"version": 2}, r"inference\.yml is of version 2; this package reads version 1"),
        ({"classes": None}, r"inference\.yml is damaged: classes is None"),
        ({"files": {}}, "it names no files"),
        ({"classes": ["pit"]}, r"inference\.yml is damaged: it has 1 class and 2 category_ids"),
        (
            {"transforms": [READER[0], {"ResizeFixed": {"hight": 8, "width": 8}}, READER[2]]},
            "ResizeFixed: .*Export the model",
        ),
        ({"sizes": {"height": [1, 2]}}, "KeyError: 'width'"),
        ({"transforms": READER[1:]}, "transforms are ResizeFixed, NormalizeToCHW"),
        ({"transforms": [READER[0], {"CropAroundDefect": {}}, READER[2]]}, "transforms are ReadImage, CropAroundDefect"),
        ({"transforms": [READER[0], {"ResizeFixed": {"height": 0, "width": 8}}, READER[2]]}, r"ResizeFixed\.height: 0"),
        ({"input": {"name": "pixels", "shape": []}}, "IndexError"),
    ],
)
def test_descriptions_that_cannot_be(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    refused(write_folder(tmp_path, **changes), message)


@pytest.mark.parametrize("text", ["{", "[]", "version: !!python/object/apply:os.getcwd []", "\x00"])
def test_descriptions_that_are_no_yaml(text: str, tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "inference.yml").write_text(text)
    refused(folder, r"inference\.yml is damaged: ")


def test_a_foreign_model_file_whose_hash_is_right(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    folder = write_folder(tmp_path)
    (folder / "model.onnx").write_bytes(b"no model")
    told = yaml.safe_load((folder / "inference.yml").read_text())
    told["files"]["model.onnx"]["sha256"] = digest(folder / "model.onnx")
    (folder / "inference.yml").write_text(yaml.safe_dump(told))
    with pytest.raises(UserError, match=r"model\.onnx: ONNX Runtime .* cannot load it"):
        Predictor(folder)


def test_a_model_for_another_engine(tmp_path: Path) -> None:
    folder = write_folder(tmp_path)
    (folder / "model.onnx").rename(folder / "model.json")
    told = yaml.safe_load((folder / "inference.yml").read_text())
    told["files"] = {"model.json": told["files"].pop("model.onnx")}
    (folder / "inference.yml").write_text(yaml.safe_dump({**told, "format": "paddle"}))
    with pytest.raises(
        UserError, match=r"onnx reads model\.onnx, it has model\.json, of another one\. Export with --format onnx"
    ):
        Predictor(folder)


def test_outputs_that_nobody_knows(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the model gives logits; expected boxes, scores and labels, or maps, or presence"):
        Predictor(write_folder(tmp_path, outputs=["logits"]))
