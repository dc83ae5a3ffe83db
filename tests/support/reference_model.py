"""The reference's tiny models in our modules, with the reference's weights."""

import numpy as np
import paddle
from ppdet.modeling.necks.fpn import FPN
from recipe_weights import give_weights

from ppdet_ext.modeling.backbones import HTCResNet
from ppdet_ext.modeling.detection import FusedSemanticHead, HTCRoIHead, HTCRPNHead, HybridTaskCascade
from ppdet_ext.modeling.detection.ground_truth import GroundTruth
from ppdet_ext.structures import Rle

TRAIN_SIZES = [(256, 320), (240, 304)]


def small_model(
    semantic: bool = True,
    depth: int = 50,
    channels: int = 32,
    classes: int = 4,
    backbone: dict | None = None,
    rpn: dict | None = None,
    **roi,
) -> HybridTaskCascade:
    """A narrow HTC built without YAML; `backbone`, `rpn` and `roi` override the settings of these parts."""
    body = HTCResNet(depth, base_channels=16, **(backbone or {}))
    shapes = body.out_shape
    neck = FPN([s.channels for s in shapes], channels, [1 / s.stride for s in shapes], extra_stage=1, use_c5=False)
    branch = FusedSemanticHead(channels, classes, 5, channels) if semantic else None
    settings = {"fc_channels": 64, "num_samples": 128, **roi}
    head = HTCRoIHead(channels, (4, 8, 16, 32), classes, branch, **settings)
    return HybridTaskCascade(body, neck, HTCRPNHead(channels, **(rpn or {})), head)


def reference_model(name: str) -> HybridTaskCascade:
    """`tiny_a` (with semantic branch), `tiny_b` (without) or `tiny_c` (with; ResNeXt, deformable in c3 to c5)."""
    grouped = {"groups": 4, "base_width": 4, "dcn_v1_stages": (1, 2, 3)}
    model = small_model(semantic=name != "tiny_b", backbone=grouped if name == "tiny_c" else None)
    give_weights(model, name)
    return model


def cascade_mask_rcnn() -> HybridTaskCascade:
    """A narrow Cascade Mask R-CNN, with the settings of configs/_base_/models/cascade_mask_rcnn_r50_fpn.yml."""
    return small_model(
        False, channels=16, interleaved=False, mask_info_flow=False, low_quality_match=False, score_threshold=0.05
    )


def mask_rcnn() -> HybridTaskCascade:
    """A narrow Mask R-CNN, with the settings of configs/_base_/models/mask_rcnn_r50_fpn.yml."""
    return small_model(
        False,
        channels=16,
        rpn={"inside_only": False, "smooth_l1_beta": 0.0, "train_proposals": 1000},
        stage_ious=(0.5,),
        stage_box_stds=((0.1, 0.1, 0.2, 0.2),),
        stage_loss_weights=(1.0,),
        class_agnostic=False,
        smooth_l1_beta=0.0,
        interleaved=False,
        mask_info_flow=False,
        score_threshold=0.05,
    )


def training_truth(arrays: dict) -> list[GroundTruth]:
    """Ground truth of the two training images."""
    out = []
    for b, (h, w) in enumerate(TRAIN_SIZES):
        bitmaps = np.unpackbits(arrays[f"gt_masks_packed{b}"], axis=-1)[:, :, :w]
        out.append(GroundTruth(arrays[f"gt_boxes{b}"], arrays[f"gt_labels{b}"], [Rle.from_bitmap(m) for m in bitmaps], h, w))
    return out


def random_batch(
    objects: int, height: int = 96, width: int = 128, classes: int = 4, seed: int = 0, brightness: float = 1.0
) -> dict:
    """A training batch of one random image with that many rectangular objects; its pixels' deviation is `brightness`."""
    rng = np.random.default_rng(seed)
    size = rng.uniform(8, 40, (objects, 2))
    corner = rng.uniform(0, 1, (objects, 2)) * (np.array([width, height]) - size)
    boxes = np.concatenate([corner, corner + size], 1).astype(np.float32)
    masks = []
    for x1, y1, x2, y2 in boxes.round().astype(int):
        bitmap = np.zeros((height, width), np.uint8)
        bitmap[y1:y2, x1:x2] = 1
        masks.append(Rle.from_bitmap(bitmap))
    return {
        "image": paddle.to_tensor((brightness * rng.standard_normal((1, 3, height, width))).astype(np.float32)),
        "im_id": np.array([7]),
        "im_shape": np.array([[height, width]], np.float32),
        "scale_factor": np.ones((1, 2), np.float32),
        "origin_shape": np.array([[height, width]]),
        "gt_bbox": [boxes],
        "gt_class": [rng.integers(0, classes, objects)],
        "gt_mask": [masks],
        "semantic": paddle.to_tensor(rng.integers(0, 5, (1, height, width)).astype(np.uint8)),
    }
