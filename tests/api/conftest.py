"""Runs of a tiny model: one that has learnt nothing and sees objects everywhere, and one trained by the library."""

from pathlib import Path

import paddle
import pytest
from tiny_run import write_workspace

from ppdet_ext import TrainingRun, load_config, train
from ppdet_ext.checkpoint.run_folder import describe_run
from ppdet_ext.host.build import build_model


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `sheets` and `tiny.yml`."""
    return write_workspace(tmp_path_factory.mktemp("api"))


@pytest.fixture(scope="session")
def config(workspace: Path) -> str:
    """Path of the tiny configuration."""
    return str(workspace / "tiny.yml")


@pytest.fixture(scope="session")
def sheets(workspace: Path) -> list[str]:
    """Files of the pictures."""
    return sorted(str(path) for path in (workspace / "sheets" / "train_images").iterdir())


@pytest.fixture(scope="session")
def run_folder(config: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Like that of a training, with weights that see objects everywhere."""
    folder = tmp_path_factory.mktemp("fresh")
    cfg = load_config(config, {"HTCRoIHead.score_threshold": 0.05})
    paddle.seed(0)
    paddle.save(build_model(cfg).state_dict(), str(folder / "best_model.pdparams"))
    describe_run(folder, cfg)
    return folder


@pytest.fixture(scope="session")
def trained(config: str) -> TrainingRun:
    """A training of an epoch with evaluation."""
    return train(config, {"epoch": 1}, evaluate=True)
