"""Fourteen small sheets, eleven of them to train on, and a model that takes 50 ms for a step."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ppdet_ext.data.synthetic import SampleSpec, write_sample_set

ROOT = Path(__file__).resolve().parents[2]
# Five steps in an epoch, whether one rank takes two images in each or two ranks one: an odd number for accumulation.
CONFIG = """
_BASE_: [{root}/configs/_base_/models/htc_r50_fpn.yml]
num_classes: 4
epoch: 3
log_iter: 3
worker_num: 0
save_dir: out
TrainDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: train.txt, height: 64, width: 128}}
EvalDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: val.txt, height: 64, width: 128}}
TrainReader:
  sample_transforms: [ReadImage: {{}}, SemanticFromMasks: {{}}, FlipImage: {{}}, NormalizeToCHW: {{}}]
  batch_transforms: [PadToStride: {{}}]
  batch_size: 2
EvalReader:
  sample_transforms: [ReadImage: {{}}, NormalizeToCHW: {{}}]
  batch_transforms: [PadToStride: {{}}]
  batch_size: 2
HTCResNet: {{depth: 18, base_channels: 4}}
FPN: {{out_channel: 8}}
HTCRPNHead: {{train_pre_nms: 50, train_proposals: 30, test_pre_nms: 50, test_proposals: 20}}
FusedSemanticHead: {{channels: 8, num_convs: 1}}
HTCRoIHead: {{fc_channels: 16, num_mask_convs: 1, num_samples: 16}}
LearningRate:
  base_lr: 1e-2
  schedulers:
    - !PiecewiseDecay {{gamma: 0.1, milestones: [2]}}
    - !LinearWarmup {{start_factor: 0.1, steps: 4}}
OptimizerBuilder: {{clip_grad_by_norm: 1.0}}
"""


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the configuration; runs write to `out/tiny` in their working directory."""
    folder = tmp_path_factory.mktemp("resume")
    write_sample_set(folder / "sheets", SampleSpec(images=14, height=64, width=128))
    (folder / "tiny.yml").write_text(CONFIG.format(root=ROOT, folder=folder))
    return str(folder / "tiny.yml")


@pytest.fixture(scope="session")
def executor() -> Iterator[ThreadPoolExecutor]:
    """As many runs at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield pool
        pool.shutdown(cancel_futures=True)
