"""A data set of eight small sheets, a model that trains on it in a second, and weights of it."""

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path

import paddle
import pytest

from ppdet_ext.config.load import load_config
from ppdet_ext.data.synthetic import SampleSpec, write_sample_set
from ppdet_ext.host.build import build_model

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
_BASE_: [{root}/configs/_base_/models/htc_r50_fpn.yml]
num_classes: 4
epoch: 2
log_iter: 2
worker_num: 0
save_dir: {folder}/out
TrainDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: train.txt, height: 64, width: 128}}
EvalDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: val.txt, height: 64, width: 128}}
TestDataset: !ImageFolder {{images: {folder}/sheets/train_images}}
TrainReader:
  sample_transforms: [ReadImage: {{}}, SemanticFromMasks: {{}}, NormalizeToCHW: {{}}]
  batch_transforms: [PadToStride: {{}}]
  batch_size: 2
EvalReader: &whole
  sample_transforms: [ReadImage: {{}}, NormalizeToCHW: {{}}]
  batch_transforms: [PadToStride: {{}}]
  batch_size: 2
TestReader: *whole
HTCResNet: {{depth: 18, base_channels: 4}}
FPN: {{out_channel: 8}}
HTCRPNHead: {{train_pre_nms: 50, train_proposals: 30, test_pre_nms: 50, test_proposals: 20}}
FusedSemanticHead: {{channels: 8, num_convs: 1}}
HTCRoIHead: {{fc_channels: 16, num_mask_convs: 1, num_samples: 16}}
LearningRate:
  base_lr: 1e-3
  schedulers:
    - !PiecewiseDecay {{gamma: 0.1, milestones: [8, 11]}}
    - !LinearWarmup {{start_factor: 0.1, steps: 2}}
OptimizerBuilder: {{clip_grad_by_norm: 1.0}}
"""
Tool = Callable[[Sequence[str]], int]


@pytest.fixture(scope="session")
def tools() -> dict[str, Tool]:
    """Name of a tool -> its main(argv)."""
    mains = {}
    for name in ("train", "eval", "infer", "submit"):
        spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        mains[name] = module.main
    return mains


@pytest.fixture(scope="session")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `sheets` and `tiny.yml`."""
    folder = tmp_path_factory.mktemp("tools")
    write_sample_set(folder / "sheets", SampleSpec(images=8, height=64, width=128))
    (folder / "tiny.yml").write_text(CONFIG.format(root=ROOT, folder=folder))
    return folder


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
