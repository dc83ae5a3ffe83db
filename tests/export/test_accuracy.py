"""The metric before and after: both models see the same images, and a worse one is refused."""

from pathlib import Path
from typing import Any

import paddle
import pytest
from tiny_run import write_workspace

from ppdet_ext.api.predictor import Predictor as EagerPredictor
from ppdet_ext.commands import export_accuracy
from ppdet_ext.commands.main import run as tool
from ppdet_ext.config.load import load_config
from ppdet_ext.errors import UserError
from ppdet_ext.host.build import build_model


@pytest.fixture(scope="module")
def flags(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Flags of an untrained detector whose every box counts, with weights."""
    folder = write_workspace(tmp_path_factory.mktemp("accuracy"))
    config = str(folder / "tiny.yml")
    paddle.seed(0)
    paddle.save(build_model(load_config(config)).state_dict(), str(folder / "w.pdparams"))
    return ["-c", config, "-o", f"weights={folder / 'w.pdparams'}"]


class Nothing:
    """An exported model that finds nothing."""

    def __init__(self, eager: EagerPredictor) -> None:
        self.eager = eager

    def predict(self, images: Any) -> Any:
        return (found.filter(score=2) for found in self.eager.predict(images))


def test_equal_models_have_equal_numbers_and_a_worse_one_is_refused(flags: list[str], monkeypatch: pytest.MonkeyPatch):
    cfg = load_config(flags[1], [flags[3]])
    eager = EagerPredictor(flags[1], weights=flags[3].removeprefix("weights="))
    monkeypatch.setattr(export_accuracy, "Predictor", lambda folder: eager)
    told = export_accuracy.accuracy(cfg, Path("exported"), 2, 0.0)
    assert told["images"] == 2
    assert told["eager"] == pytest.approx(told["exported"])
    assert set(told["eager"]) == {"bbox", "segm"}
    monkeypatch.setattr(export_accuracy, "Predictor", lambda folder: Nothing(eager))
    assert told["eager"]["bbox"] > 0
    with pytest.raises(UserError, match=r"worse than the eager one by more than 0 points: bbox 0\.\d+ before, 0\.0000 after"):
        export_accuracy.accuracy(cfg, Path("exported"), 2, 0.0)


def test_images_are_taken_evenly(flags: list[str]):
    cfg = load_config(flags[1], [flags[3]])
    dataset = export_accuracy._annotated(cfg)
    every = [record.name for record in dataset.records]
    assert [record.name for record in export_accuracy._some(dataset, 2).records] == [every[0], every[-1]]
    assert [record.name for record in export_accuracy._some(dataset, 1000).records] == every
    cfg = load_config(flags[1], [flags[3], "EvalDataset=null"])
    with pytest.raises(export_accuracy.NoAnnotationsError, match="EvalDataset"):
        export_accuracy._annotated(cfg)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--evaluate", "-1"], "--evaluate -1: give a number of images"),
        (["--evaluate", "5", "--most_drop", "-1"], "--most_drop -1: give points"),
        (["--evaluate", "5", "--format", "paddle"], "--evaluate: the runtime runs models of --format onnx and openvino"),
    ],
)
def test_what_makes_no_sense(words: list[str], message: str, flags: list[str], tmp_path: Path, capsys):
    assert tool("export", [*flags, "--output", str(tmp_path / "out"), *words]) == 1
    assert message in capsys.readouterr().err
