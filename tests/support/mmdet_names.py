"""Our parameter names -> mmdetection's, for building reference models in tests."""

import re

import numpy as np

_BACKBONE_PARTS = {
    "branch2a": ("conv1", "bn1"),
    "branch2b": ("conv2", "bn2"),
    "branch2c": ("conv3", "bn3"),
    "short": ("downsample.0", "downsample.1"),
}
_NORM = {"weight": "weight", "bias": "bias", "_mean": "running_mean", "_variance": "running_var"}
_RULES = [
    (r"rpn_head\.hidden\.", "rpn_head.rpn_conv."),
    (r"rpn_head\.objectness\.", "rpn_head.rpn_cls."),
    (r"rpn_head\.deltas\.", "rpn_head.rpn_reg."),
    (r"roi_head\.box_heads\.(\d)\.fcs\.", r"roi_head.bbox_head.\1.shared_fcs."),
    (r"roi_head\.box_heads\.(\d)\.classify\.", r"roi_head.bbox_head.\1.fc_cls."),
    (r"roi_head\.box_heads\.(\d)\.regress\.", r"roi_head.bbox_head.\1.fc_reg."),
    (r"roi_head\.mask_heads\.(\d)\.merge\.", r"roi_head.mask_head.\1.conv_res.conv."),
    (r"roi_head\.mask_heads\.(\d)\.convs\.(\d)\.", r"roi_head.mask_head.\1.convs.\2.conv."),
    (r"roi_head\.mask_heads\.(\d)\.upsample\.", r"roi_head.mask_head.\1.upsample."),
    (r"roi_head\.mask_heads\.(\d)\.logits\.", r"roi_head.mask_head.\1.conv_logits."),
    (r"roi_head\.semantic_head\.laterals\.(\d)\.", r"roi_head.semantic_head.lateral_convs.\1.conv."),
    (r"roi_head\.semantic_head\.convs\.(\d)\.", r"roi_head.semantic_head.convs.\1.conv."),
    (r"roi_head\.semantic_head\.embedding\.", "roi_head.semantic_head.conv_embedding.conv."),
    (r"roi_head\.semantic_head\.logits\.", "roi_head.semantic_head.conv_logits."),
    (r"neck\.fpn_inner_res(\d)_sum(_lateral)?\.", lambda m: f"neck.lateral_convs.{int(m[1]) - 2}.conv."),
    (r"neck\.fpn_res(\d)_sum\.", lambda m: f"neck.fpn_convs.{int(m[1]) - 2}.conv."),
]


def mmdet_name(name: str) -> str:
    """mmdetection's name of one of our parameters or buffers."""
    if m := re.fullmatch(r"backbone\.conv1\.conv1\.(conv|norm)\.(\w+)", name):
        return f"backbone.conv1.{m[2]}" if m[1] == "conv" else f"backbone.bn1.{_NORM[m[2]]}"
    if m := re.fullmatch(r"backbone\.res(\d)\.res\d(\w+)\.(branch2\w|short)\.(conv|norm)\.(\w+)", name):
        block = ord(m[2]) - ord("a") if len(m[2]) == 1 else int(m[2][1:])
        conv, norm = _BACKBONE_PARTS[m[3]]
        where = f"backbone.layer{int(m[1]) - 1}.{block}."
        return f"{where}{conv}.{m[5]}" if m[4] == "conv" else f"{where}{norm}.{_NORM[m[5]]}"
    for pattern, replacement in _RULES:
        if re.match(pattern, name):
            return re.sub(pattern, replacement, name)
    raise KeyError(name)


def from_mmdet(name: str, value: np.ndarray) -> np.ndarray:
    """A reference tensor in our layout: only fully connected weights are transposed."""
    return value.T if value.ndim == 2 else value


def shape_in_mmdet(shape: list[int]) -> tuple[int, ...]:
    """The reference's shape of one of our tensors."""
    return tuple(shape[::-1]) if len(shape) == 2 else tuple(shape)
