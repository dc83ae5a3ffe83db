"""--debug_run: all stages on a handful of images; nothing is left, also where there is no data and no weights."""

import tempfile
from pathlib import Path

import numpy as np
import pytest

from ppdet_ext.commands import debug_run
from ppdet_ext.commands.main import run
from ppdet_ext.config.load import load_config
from ppdet_ext.structures import Record


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory, and within it the folder for what is temporary."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_all_stages_and_nothing_left(config: str, workspace: Path, scratch: Path, capsys) -> None:
    before = sorted(workspace.rglob("*"))
    assert run("train", ["-c", config, "--eval", "--debug_run", "-o", "epoch=50"]) == 0
    out = capsys.readouterr().out
    assert "4 images × 1 epoch, 2 steps of 2 images in each" in out
    assert "tiny went through all stages: train " in out
    assert all(f"--debug_run: {stage}" in out for stage in ("train", "eval", "tune", "submit"))
    assert "8 rows, one for each of 2 images and each of 4 classes" in out
    assert [path for path in sorted(workspace.rglob("*")) if path not in before] == []
    assert [path.name for path in scratch.rglob("*")] == ["temporary"]


def test_data_and_weights_that_are_not_there(config: str, workspace: Path, scratch: Path, capsys) -> None:
    overrides = [f"{key}.dataset_dir={workspace}/nowhere" for key in ("TrainDataset", "EvalDataset")]
    overrides += [
        "TrainDataset.fold=0",
        "pretrain_weights=nowhere/model_final",
        "HTCResNet.norm_eval=true",
        "TrainDataset.split=null",
    ]
    assert run("train", ["-c", config, "--debug_run", "-o", *overrides]) == 0
    out = capsys.readouterr().out
    assert f"{workspace}/nowhere is not there; trying the configuration on 16 drawn pictures" in out
    assert "nowhere/model_final.pdparams does not exist. Trying from scratch." in out
    assert not (workspace / "nowhere").exists()


def test_a_fault_ends_it_and_nothing_is_left(config: str, scratch: Path, capsys) -> None:
    assert run("train", ["-c", config, "--debug_run", "-o", "PostProcess=[DropClasses: {classes: [rust]}]"]) == 1
    assert "rust" in capsys.readouterr().err
    assert [path.name for path in scratch.rglob("*")] == ["temporary"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-r", "auto"], "leave -r and --vdl_log_dir out"),
        (
            ["-o", "EvalDataset=!ImageFolder {{images: {folder}/sheets/train_images}}"],
            "takes a few images of each data set by its `split`",
        ),
    ],
)
def test_bad_input(words: list[str], message: str, config: str, workspace: Path, scratch: Path, capsys) -> None:
    assert run("train", ["-c", config, "--debug_run", *(word.format(folder=workspace) for word in words)]) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow
def test_two_folds(config: str, scratch: Path, capsys) -> None:
    assert run("kfold", ["-c", config, "--debug_run", "--metric", "MeanIoU"]) == 0
    assert "tiny went through all stages: kfold " in capsys.readouterr().out
    assert [path.name for path in scratch.rglob("*")] == ["temporary"]


def test_images_of_as_many_classes_as_fit() -> None:
    labels = {"a": [0], "b": [0, 1], "c": [], "d": [2], "e": [1]}
    records = [
        Record(number, name, name, 4, 4, labels=np.array(own, np.int64)) for number, (name, own) in enumerate(labels.items())
    ]
    for count in (2, 3, 4, 9):
        chosen = debug_run.spread(records, count)
        assert len(chosen) == len({record.name for record in chosen}) == min(count, 5)
        assert chosen == debug_run.spread(records[::-1], count)
    assert {label for record in debug_run.spread(records, 4) for label in record.labels.tolist()} == {0, 1, 2}


def test_the_trial_is_of_the_same_model_and_steps(config: str, tmp_path: Path) -> None:
    cfg = load_config(config, ["gradient_accumulation_steps=16", "TrainReader.batch_size=32", "use_ema=true"])
    trial = load_config(debug_run.trial_config(cfg, tmp_path)).resolved
    assert (trial["gradient_accumulation_steps"], trial["TrainReader"]["batch_size"], trial["epoch"]) == (2, 2, 1)
    for key in ("architecture", "HTCResNet", "use_ema", "OptimizerBuilder", "num_classes"):
        assert trial[key] == cfg.resolved[key]
    assert trial["TrainReader"]["sample_transforms"] == cfg.resolved["TrainReader"]["sample_transforms"]


def test_the_sampler_is_one_that_a_handful_of_images_allows(config: str, workspace: Path, tmp_path: Path) -> None:
    mix = (
        f"TrainDataset=!MixedDataSet {{labelled: !SteelDataSet {{dataset_dir: {workspace}/nowhere}}, "
        f"pseudo: !SteelDataSet {{dataset_dir: {workspace}/nowhere, anno_path: p.csv, split: p.csv}}}}"
    )
    given = "TrainReader.sampler={pseudo_ratio: 0.3, empty_ratio: 0.2, images: 5000, balance: -0.15}"
    trial = load_config(debug_run.trial_config(load_config(config, [mix, given]), tmp_path))
    assert trial.TrainReader["sampler"] == {"balance": 0.0}


def test_models_that_cannot_be_there_yet_are_left_out(config: str, tmp_path: Path) -> None:
    steps = "PostProcess=[ClassifierGate: {threshold: 0.5}, MinArea: {area: 3}, ClassifierGate: {file: gate.csv}]"
    others = ["Ensemble=[a, b]", f"Classifier={{config: {config}, weights: c}}", steps]
    trial = load_config(debug_run.trial_config(load_config(config, others), tmp_path)).resolved
    assert not {"Ensemble", "Classifier"} & trial.keys()
    assert trial["PostProcess"] == [{"MinArea": {"area": 3}}, {"ClassifierGate": {"file": "gate.csv"}}]
