"""Fourteen small sheets, eleven of them to train on, and a model that takes 50 ms for a step."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tiny_run import SMALL_HTC

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
report: false
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
LearningRate:
  base_lr: 1e-2
  schedulers:
    - !PiecewiseDecay {{gamma: 0.1, milestones: [2]}}
    - !LinearWarmup {{start_factor: 0.1, steps: 4}}
OptimizerBuilder: {{clip_grad_by_norm: 1.0}}
"""
SEGMENTATION = """
_BASE_: [../tiny.yml]
plugins: [tiny_encoder.py]
architecture: SemanticSegmentor
metric: SeverstalDice
SemanticSegmentor: {encoder: TinyEncoder, decoder: UNetDecoder, losses: [{BCE: {weight: 0.6}}, {Dice: {weight: 0.4}}]}
UNetDecoder: {channels: [16, 8, 8, 4, 4]}
TrainReader:
  sample_transforms: [ReadImage: {}, FlipImage: {}, ClassMasks: {}, NormalizeToCHW: {}]
LearningRate:
  base_lr: 1e-2
  schedulers:
    - !ReduceOnPlateau {metric: SeverstalDice, patience: 0, factor: 0.5, threshold: 0.6}
    - !LinearWarmup {start_factor: 0.1, steps: 3}
OptimizerBuilder:
  optimizer: {type: RAdam}
  groups: [{params: [encoder], learning_rate_factor: 0.5, weight_decay: 0.0}]
  lookahead: {k: 3, alpha: 0.5}
"""
# The smallest of the encoders that there are has eleven million parameters, most of the time that a checkpoint takes.
ENCODER = """
from paddle import nn

from ppdet_ext.host.registry import register_module
from ppdet_ext.modeling.backbones.encoder import Encoder


@register_module
class TinyEncoder(Encoder):
    def __init__(self, depth: int = 5):
        super().__init__()
        widths = [3, 4, 4, 8, 8, 8]
        self.convs = nn.LayerList([nn.Conv2D(a, b, 3, 2, 1) for a, b in zip(widths, widths[1:])])
        self.norms = nn.LayerList([nn.BatchNorm2D(b) for b in widths[1:]])
        self.finish(widths[1:], 3, 32, depth, None, False, False)

    def stages(self):
        return list(self.convs)

    def features(self, image):
        for conv, norm in zip(self.convs, self.norms):
            image = nn.functional.relu(norm(conv(image)))
            yield image
"""


@pytest.fixture(scope="session")
def config(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Path of the configuration; runs write to `out/tiny` in their working directory. `segmentation/tiny.yml` is beside it."""
    folder = tmp_path_factory.mktemp("resume")
    write_sample_set(folder / "sheets", SampleSpec(images=14, height=64, width=128))
    (folder / "tiny.yml").write_text(CONFIG.format(root=ROOT, folder=folder) + SMALL_HTC)
    (folder / "segmentation").mkdir()
    (folder / "segmentation" / "tiny.yml").write_text(SEGMENTATION)
    (folder / "segmentation" / "tiny_encoder.py").write_text(ENCODER)
    return str(folder / "tiny.yml")


@pytest.fixture(scope="session")
def executor() -> Iterator[ThreadPoolExecutor]:
    """As many runs at a time as there are cores."""
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        yield pool
        pool.shutdown(cancel_futures=True)
