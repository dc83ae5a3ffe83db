"""Models that a new configuration may take, and what each asks of the machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from ppdet_ext.errors import UserError, nearest

Target = Literal["semantic map", "planes of classes", "none"]


@dataclass(frozen=True)
class Model:
    """A model of the shipped configurations.

    title: in words. bases: files below `configs/_base_`. lines: YAML beside these. rpn: lines of the section HTCRPNHead.
    inside_only: whether that leaves anchors over the image's edge out of learning, unless it is told otherwise.
    target: what the reader draws of the masks. anchors: whether it has any. small: for a CPU, from scratch; otherwise for a
    GPU, from ImageNet's weights. bytes_per_pixel: memory of a training step for each pixel of its images; fixed_bytes: of the
    weights and the rest.
    """

    title: str
    bases: tuple[str, ...]
    lines: tuple[str, ...]
    target: Target
    anchors: bool
    small: bool
    bytes_per_pixel: float
    fixed_bytes: float
    rpn: tuple[str, ...] = ()
    inside_only: bool = True


_SMALL_PARTS = (
    "HTCResNet: {depth: 18, base_channels: 24}",
    "FPN: {out_channel: 64}",
    "HTCRoIHead: {fc_channels: 256, num_mask_convs: 2, num_samples: 64}",
)
_FEW_PROPOSALS = ("train_pre_nms: 500", "train_proposals: 300", "test_pre_nms: 300", "test_proposals: 200")
_UNET = (
    "architecture: SemanticSegmentor",
    "SemanticSegmentor:",
    "  encoder: ResNetEncoder",
    "  decoder: UNetDecoder",
    "  losses: [{BCE: {weight: 0.6}}, {Dice: {weight: 0.4}}]",
    "ResNetEncoder: {name: resnet18}",
    "UNetDecoder: {channels: [64, 48, 32, 24, 16]}",
)
# Memory of the large ones: 8.2 GB for two images of 800 x 1333 px (HTC, published by the reference); of the small ones
# rounded up from what trainings on a CPU took at most, of 4 and of 12 images of 128 x 512 px a step: HTC 0.79 and 1.17 GB, Mask
# R-CNN 0.69 and 0.92, U-Net 1.06 and 1.53.
MODELS = {
    "htc_small": Model(
        "Hybrid Task Cascade of small widths", ("models/htc_r18_small.yml",), (), "semantic map", True, True, 1000, 0.6e9
    ),
    "htc_r50": Model(
        "Hybrid Task Cascade, ResNet-50 with FPN",
        ("models/htc_r50_fpn.yml", "backbones/r50.yml"), (), "semantic map", True, False, 3400, 1e9,
    ),
    "mask_rcnn_small": Model(
        "Mask R-CNN of small widths",
        ("models/mask_rcnn_r50_fpn.yml",), _SMALL_PARTS, "none", True, True, 700, 0.6e9, _FEW_PROPOSALS, False,
    ),
    "mask_rcnn_r50": Model(
        "Mask R-CNN, ResNet-50 with FPN",
        ("models/mask_rcnn_r50_fpn.yml", "backbones/r50.yml"), (), "none", True, False, 3400, 1e9, (), False,
    ),
    "unet": Model("U-Net, ResNet-18", (), _UNET, "planes of classes", False, True, 1100, 0.9e9),
}  # fmt: skip
# Names that leave the size to the device: on a CPU, on a GPU.
BY_DEVICE = {"htc": ("htc_small", "htc_r50"), "mask_rcnn": ("mask_rcnn_small", "mask_rcnn_r50")}
MODEL_NAMES: Sequence[str] = (*BY_DEVICE, *MODELS)


def model_named(name: str, gpu: bool) -> Model:
    """The model of that name. Raises: UserError with the nearest one where there is none."""
    if name in BY_DEVICE:
        name = BY_DEVICE[name][gpu]
    if name not in MODELS:
        raise UserError(f"--model: there is no {name!r}.{nearest(name, MODEL_NAMES)} There are {', '.join(MODEL_NAMES)}.")
    return MODELS[name]
