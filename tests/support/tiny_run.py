"""A data set of eight small sheets, and a configuration whose model trains on it in a second."""

from pathlib import Path

from ppdet_ext.data.synthetic import SampleSpec, write_sample_set

ROOT = Path(__file__).resolve().parents[2]
CONFIG = """
_BASE_: [{root}/configs/_base_/models/htc_r50_fpn.yml]
num_classes: 4
epoch: 2
log_iter: 2
worker_num: 0
save_dir: {folder}/out
report: false
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
LearningRate:
  base_lr: 1e-3
  schedulers:
    - !PiecewiseDecay {{gamma: 0.1, milestones: [8, 11]}}
    - !LinearWarmup {{start_factor: 0.1, steps: 2}}
OptimizerBuilder: {{clip_grad_by_norm: 1.0}}
"""
# Of an HTC that takes 50 ms for a step; keys that a configuration may have beside its own.
SMALL_HTC = """HTCResNet: {depth: 18, base_channels: 4}
FPN: {out_channel: 8}
HTCRPNHead: {train_pre_nms: 50, train_proposals: 30, test_pre_nms: 50, test_proposals: 20}
FusedSemanticHead: {channels: 8, num_convs: 1}
HTCRoIHead: {fc_channels: 16, num_mask_convs: 1, num_samples: 16}
"""


def write_workspace(folder: Path) -> Path:
    """The folder, with `sheets` and `tiny.yml`."""
    write_sample_set(folder / "sheets", SampleSpec(images=8, height=64, width=128))
    (folder / "tiny.yml").write_text(CONFIG.format(root=ROOT, folder=folder) + SMALL_HTC)
    return folder
