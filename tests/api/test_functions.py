"""The functions behind the tools: what they return, and what they leave behind, which is nothing."""

import hashlib
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ppdet_ext
from ppdet_ext import Predictor, TrainingRun, evaluate, infer, load_config, submit, train, tune
from ppdet_ext.errors import UserError
from ppdet_ext.tuning.options import Searching


def state() -> dict[str, Any]:
    """What of a process others would notice."""
    loggers = {name: (logging.getLogger(name).level, list(logging.getLogger(name).handlers)) for name in ("", "ppdet_ext")}
    return {
        "signals": {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)},
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "loggers": loggers,
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "hook": sys.excepthook,
        "numpy": np.random.get_state()[1].tolist(),
        "random": random.getstate(),
        "threads": threading.active_count(),
    }


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_training_tells_what_it_made(trained: TrainingRun, config: str) -> None:
    assert trained.folder == Path(config).parent / "out" / "tiny"
    assert trained.final.is_file()
    assert trained.best is not None
    assert trained.best.is_file()
    assert set(trained.metrics) == {"bbox", "segm"}
    assert 0 <= trained.metrics["segm"]["AP50"] <= 1


@pytest.mark.slow
def test_a_run_goes_through_all_functions(trained: TrainingRun, sheets: list[str], tmp_path: Path) -> None:
    before = state()
    outcome = evaluate(trained.folder)
    assert outcome.named == trained.metrics
    assert (trained.folder / "eval.json").is_file()
    tuned = tune(trained.folder, output=tmp_path / "tuned.yml", searching=Searching(folds=0))
    assert "python tools/tune.py -c config.yml\n" in tuned.file.read_text()
    assert tuned.outcome is not None
    images = Path(sheets[0]).parent
    assert infer(trained.folder, images, output_dir=tmp_path / "drawn", save_results=True) == 8
    rows = submit(trained.folder, tmp_path / "a.csv", images, postprocess=tuned.file)
    assert rows == submit(trained.folder, tmp_path / "b.csv", images, postprocess=str(tuned.file))
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert Predictor(trained.folder, postprocess=tuned.file).classes == ("defect_1", "defect_2", "defect_3", "defect_4")
    assert state() == before


def test_a_second_training_in_a_thread_is_the_same_and_leaves_nothing(
    trained: TrainingRun, config: str, tmp_path: Path
) -> None:
    before = state()
    runs: list[TrainingRun] = []
    overrides = {"epoch": 1, "save_dir": tmp_path}
    thread = threading.Thread(target=lambda: runs.append(train(config, overrides)))
    thread.start()
    thread.join()
    assert state() == before
    assert digest(runs[0].final) == digest(trained.final)
    assert (runs[0].best, runs[0].metrics) == (None, {})
    again = train(config, overrides, resume="auto")
    assert digest(again.final) == digest(trained.final)
    # It was finished without an evaluation; one is made up for.
    evaluated = train(config, overrides, evaluate=True, resume="auto")
    assert (evaluated.best, evaluated.metrics) == (None, trained.metrics)
    assert state() == before


def test_best_weights_of_a_run_that_went_on_without_evaluating(
    trained: TrainingRun, config: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    caplog.set_level(logging.INFO, "ppdet_ext")
    monkeypatch.setattr(logging.getLogger("ppdet_ext"), "propagate", True)
    folder = Path(shutil.copytree(trained.folder, "tiny"))
    Predictor(folder)
    # Where the weights are that were loaded, wherever they are named from.
    assert f"Loaded {tmp_path}/tiny/best_model.pdparams: " in caplog.text
    assert "went on" not in caplog.text
    train(config, {"epoch": 2, "save_dir": tmp_path}, resume="auto", allow_change="config")
    assert load_config(folder).weights == str(folder / "best_model.pdparams")
    assert "tiny/best_model.pdparams is the best of earlier epochs" in caplog.text
    assert "weights='tiny/model_final.pdparams'" in caplog.text
    # Anew, the earlier run is moved aside with its best weights.
    run = train(config, {"epoch": 1, "save_dir": tmp_path})
    caplog.clear()
    assert load_config(folder).weights == str(folder / run.final.name)
    assert "went on" not in caplog.text


def test_errors_are_exceptions(config: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No weights are configured"):
        evaluate(config)
    with pytest.raises(UserError, match=r"Config file no\.yml does not exist"):
        train("no.yml")
    with pytest.raises(UserError, match=r"step 'TopL' is not registered|TopL.*Did you mean 'TopK'"):
        infer(config, postprocess=[{"TopL": {}}])
    with pytest.raises(UserError, match=r"missing|does not exist|no such"):
        evaluate(config, tmp_path / "none")


def test_overrides_say_what_yaml_says(config: str, tmp_path: Path) -> None:
    steps = [{"ScoreThreshold": {"score": {"default": 0.5, "defect_1": 1e-05}}}]
    cfg = load_config(
        config,
        {"epoch": np.int64(3), "save_dir": tmp_path, "PostProcess": steps, "TestDataset": None, "LearningRate.base_lr": 1e-5},
    )
    assert (cfg.epoch, cfg.save_dir, cfg.PostProcess, cfg.get("TestDataset")) == (3, str(tmp_path), steps, None)
    assert cfg.LearningRate["base_lr"] == 1e-5
    assert load_config(config, ["epoch=3"]).epoch == 3


@pytest.mark.slow
def test_importing_the_package_is_light_and_its_names_are_there(root: Path) -> None:
    code = (
        "import sys, ppdet_ext\n"
        "def loaded(): print(sorted({'paddle', 'ppdet', 'cv2', 'numpy'} & set(sys.modules)))\n"
        "loaded()\n"
        "from ppdet_ext import Prediction, Rle; loaded()\n"
        "from ppdet_ext import Predictor; loaded()\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "2"}  # paddle warns of more than one
    done = subprocess.run([sys.executable, "-c", code], cwd=root, env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout == "[]\n['cv2', 'numpy']\n['cv2', 'numpy', 'paddle', 'ppdet']\n"
    assert done.stderr == ""
    assert set(ppdet_ext.__all__) <= set(dir(ppdet_ext))
    assert all(getattr(ppdet_ext, name) is not None for name in ppdet_ext.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Predicter'"):
        ppdet_ext.Predicter  # noqa: B018
