"""A data set of eight small sheets, a model that trains on it in a second, and weights of it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import paddle
import pytest
from forked_runs import load_tool
from tiny_run import write_workspace

from ppdet_ext.config.load import load_config
from ppdet_ext.host.build import build_model

ROOT = Path(__file__).resolve().parents[2]
Tool = Callable[[Sequence[str]], int]


@pytest.fixture(scope="session")
def tools() -> dict[str, Tool]:
    """Name of a tool -> its main(argv)."""
    return {name: load_tool(name) for name in ("train", "eval", "infer", "submit")}


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `sheets` and `tiny.yml`."""
    return write_workspace(tmp_path_factory.mktemp("tools"))


@pytest.fixture(scope="session")
def config(workspace: Path) -> str:
    """Path of the tiny configuration."""
    return str(workspace / "tiny.yml")


@pytest.fixture(scope="session")
def trained(workspace: Path, config: str, tools: dict[str, Tool]) -> Path:
    """Folder of a finished run of two epochs with evaluation."""
    assert tools["train"](["-c", config, "--eval"]) == 0
    return workspace / "out" / "tiny"


@pytest.fixture(scope="session")
def eager(config: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Override with the weights of a model that has learnt nothing and sees objects everywhere."""
    paddle.seed(0)
    path = tmp_path_factory.mktemp("weights") / "fresh.pdparams"
    paddle.save(build_model(load_config(config)).state_dict(), str(path))
    return f"weights={path}"


@pytest.fixture
def arguments(config: str, eager: str, tmp_path: Path) -> list[str]:
    """Of submit.py: some instances of each image, of some classes, overlap."""
    return ["-c", config, "--draw_threshold", "0.3", "--output", str(tmp_path / "s.csv"), "-o", eager]
