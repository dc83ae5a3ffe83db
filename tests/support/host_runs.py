"""Runs of ppdet's architectures on eight small sheets: configurations, and the batches a step takes."""

from pathlib import Path

import numpy as np
import paddle

from ppdet_ext.data.synthetic import SampleSpec, write_sample_set
from ppdet_ext.structures import Rle

ROOT = Path(__file__).resolve().parents[2]
NARROW = {
    "faster_rcnn_r18_fpn": "TwoFCHead: {out_channel: 32}\n",
    "mask_rcnn_r18_fpn": "TwoFCHead: {out_channel: 32}\nMaskFeat: {num_convs: 1, out_channel: 16}\n",
    "cascade_mask_rcnn_r18_fpn": "CascadeTwoFCHead: {out_channel: 32}\nMaskFeat: {num_convs: 1, out_channel: 16}\n",
    "ppyoloe_crn_tiny": "CSPResNet: {channels: [16, 32, 64, 128, 256]}\n"
    "PPYOLOEHead: {static_assigner_epoch: 1, static_assigner: {topk: 4}, nms: {score_threshold: 0.001}}\n",
    "solov2_r18_fpn": "SOLOv2Head: {score_threshold: 0.001, num_grids: [8, 8, 6, 4, 4]}\n"
    "MaskMatrixNMS: {update_threshold: 0.001}\n",
}
MODELS = list(NARROW)
WITH_MASKS = ("mask_rcnn_r18_fpn", "cascade_mask_rcnn_r18_fpn", "solov2_r18_fpn")
REGIONS = """
RPNHead:
  train_proposal: {pre_nms_top_n: 60, post_nms_top_n: 30}
  test_proposal: {pre_nms_top_n: 40, post_nms_top_n: 20}
BBoxAssigner: {batch_size_per_im: 16}
BBoxPostProcess: {nms: {score_threshold: 0.001}}
"""
CONFIG = """
_BASE_: [{root}/configs/_base_/models/ppdet_{model}.yml]
num_classes: 4
epoch: 2
log_iter: 1
snapshot_iter: 1
keep_checkpoints: 9
worker_num: 0
save_dir: {folder}/out
TrainDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: train.txt, height: 64, width: 128}}
EvalDataset: !SteelDataSet {{dataset_dir: {folder}/sheets, split: val.txt, height: 64, width: 128}}
TestDataset: !ImageFolder {{images: {folder}/sheets/train_images}}
TrainReader:
  sample_transforms: [ReadImage: {{}}, FlipImage: {{}}, NormalizeToCHW: {{}}]
  batch_transforms: [PadToStride: {{}}]
  batch_size: 2
EvalReader: &whole
  sample_transforms: [ReadImage: {{}}, NormalizeToCHW: {{}}]
  batch_transforms: [PadToStride: {{}}]
  batch_size: 2
TestReader: *whole
LearningRate:
  base_lr: 1e-3
  schedulers: [!PiecewiseDecay {{gamma: 0.1, milestones: [8, 11]}}, !LinearWarmup {{start_factor: 0.1, steps: 2}}]
OptimizerBuilder: {{clip_grad_by_norm: 1.0}}
"""


def write_sheets(folder: Path) -> Path:
    """Eight drawn sheets of 64 x 128 in `folder`/sheets."""
    write_sample_set(folder / "sheets", SampleSpec(images=8, height=64, width=128))
    return folder


def write_config(folder: Path, model: str) -> Path:
    """A configuration of a narrow `model` on those sheets."""
    path = folder / f"{model}.yml"
    text = CONFIG.format(root=ROOT, model=model, folder=folder) + NARROW[model]
    path.write_text(text + REGIONS * ("rcnn" in model))
    return path


def batch_of(objects: list[int]) -> dict:
    """A training batch of one noise image of 64 x 192 px, 180 of them inside, for each number of objects; of half its size."""
    rng, count = np.random.default_rng(0), len(objects)
    boxes = [np.array([[10 + 20 * i, 5, 40 + 20 * i, 50] for i in range(n)], np.float32).reshape(-1, 4) for n in objects]
    bitmap = np.zeros((64, 180), np.uint8)
    return {
        "image": paddle.to_tensor(rng.normal(size=(count, 3, 64, 192)).astype(np.float32)),
        "im_shape": paddle.to_tensor(np.full((count, 2), (64, 180), np.float32)),
        "scale_factor": paddle.to_tensor(np.full((count, 2), 0.5, np.float32)),
        "origin_shape": paddle.to_tensor(np.full((count, 2), (128, 360))),
        "im_id": paddle.to_tensor(np.arange(count)),
        "names": [f"{i}.jpg" for i in range(count)],
        "gt_bbox": boxes,
        "gt_class": [np.arange(n) % 4 for n in objects],
        "gt_mask": [[Rle.from_bitmap(_filled(bitmap, box)) for box in own.astype(int)] for own in boxes],
        "epoch": 0,
    }


def _filled(bitmap: np.ndarray, box: np.ndarray) -> np.ndarray:
    filled = bitmap.copy()
    filled[box[1] : box[3], box[0] : box[2]] = 1
    return filled
