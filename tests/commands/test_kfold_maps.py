"""tools/kfold.py and --debug_run of a semantic segmentation and of a classifier of whole images."""

from pathlib import Path

import pytest
import yaml

from ppdet_ext.commands.main import run

COMMON = """
_BASE_: [{base}]
num_classes: 4
epoch: 1
worker_num: 0
architecture: {architecture}
ResNetEncoder: {{name: resnet18}}
TrainReader:
  sample_transforms: [ReadImage: {{}}, ClassMasks: {{}}, NormalizeToCHW: {{}}]
  batch_size: 3
"""
MODELS = {
    "SemanticSegmentor": "metric: SeverstalDice\nSemanticSegmentor: {encoder: ResNetEncoder, decoder: FPNDecoder}\n"
    "FPNDecoder: {pyramid_channels: 32, channels: 32}\n",
    "ImageClassifier": "metric: PresenceF1\nImageClassifier: {encoder: ResNetEncoder}\n",
}
FLAGS = ["--folds", "2", "--min_instances", "1", "--output", "kf"]


@pytest.fixture
def configs(workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """Configuration by architecture; folds are trained in this process, which has imported all."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("ppdet_ext.commands.kfold_train.run_child", lambda words, _: run("train", words[2:]))
    found = {}
    for architecture, text in MODELS.items():
        path = tmp_path / f"{architecture}.yml"
        path.write_text(COMMON.format(base=workspace / "tiny.yml", architecture=architecture) + text)
        found[architecture] = str(path)
    return found


def test_segmentation(configs: dict[str, str], tmp_path: Path) -> None:
    flags = [*FLAGS, "--score_threshold", "0"]
    assert run("kfold", ["-c", configs["SemanticSegmentor"], *flags]) == 0
    sections = yaml.safe_load((tmp_path / "kf" / "ensemble.yml").read_text())
    assert sections["Ensemble"] == ["kf/fold_0/model_final", "kf/fold_1/model_final"]
    assert "BoxNMS" not in [next(iter(step)) for step in sections["PostProcess"]]
    assert "| all, out of fold | 6 |" in (tmp_path / "kf" / "report.md").read_text()
    assert run("submit", ["-c", "kf/ensemble.yml", "--output", "s.csv"]) == 0


def test_classifiers(configs: dict[str, str], tmp_path: Path) -> None:
    assert run("kfold", ["-c", configs["ImageClassifier"], *FLAGS]) == 0
    sections = yaml.safe_load((tmp_path / "kf" / "ensemble.yml").read_text())
    assert [one["weights"] for one in sections["Classifier"]] == ["kf/fold_0/model_final", "kf/fold_1/model_final"]
    assert [next(iter(step)) for step in sections["PostProcess"]] == ["ClassifierGate"]
    assert "F1 of each class on 6 images" in (tmp_path / "kf" / "report.md").read_text()


@pytest.mark.parametrize("architecture", MODELS)
def test_debug_run(architecture: str, configs: dict[str, str], capsys) -> None:
    assert run("train", ["-c", configs[architecture], "--debug_run"]) == 0
    assert f"{architecture} went through all stages: train " in capsys.readouterr().out
