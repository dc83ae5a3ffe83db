"""Our tensor names and layouts against mmdetection's: the one place that knows both.

mmdetection 2 and 3 name the same; Kaiming He's stages res2 … res5 are layer1 … layer4 there. Only fully connected weights
are laid out otherwise: (in, out) here, (out, in) there.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from ppdet_ext.errors import UserError

from .smp import smp_name

_BLOCK_PARTS = {
    "branch2a": ("conv1", "bn1"),
    "branch2b": ("conv2", "bn2"),
    "branch2c": ("conv3", "bn3"),
    "short": ("downsample.0", "downsample.1"),
}
_NORM = {"weight": "weight", "bias": "bias", "_mean": "running_mean", "_variance": "running_var"}
_RULES: list[tuple[str, str | Callable[[re.Match], str]]] = [
    (r"neck\.fpn_inner_res(\d)_sum(_lateral)?\.", lambda m: f"neck.lateral_convs.{int(m[1]) - 2}.conv."),
    (r"neck\.fpn_res(\d)_sum\.", lambda m: f"neck.fpn_convs.{int(m[1]) - 2}.conv."),
    (r"rpn_head\.hidden\.", "rpn_head.rpn_conv."),
    (r"rpn_head\.objectness\.", "rpn_head.rpn_cls."),
    (r"rpn_head\.deltas\.", "rpn_head.rpn_reg."),
    (r"roi_head\.box_heads\.(\d+)\.fcs\.", r"roi_head.bbox_head.\1.shared_fcs."),
    (r"roi_head\.box_heads\.(\d+)\.classify\.", r"roi_head.bbox_head.\1.fc_cls."),
    (r"roi_head\.box_heads\.(\d+)\.regress\.", r"roi_head.bbox_head.\1.fc_reg."),
    (r"roi_head\.mask_heads\.(\d+)\.merge\.", r"roi_head.mask_head.\1.conv_res.conv."),
    (r"roi_head\.mask_heads\.(\d+)\.convs\.(\d+)\.", r"roi_head.mask_head.\1.convs.\2.conv."),
    (r"roi_head\.mask_heads\.(\d+)\.upsample\.", r"roi_head.mask_head.\1.upsample."),
    (r"roi_head\.mask_heads\.(\d+)\.logits\.", r"roi_head.mask_head.\1.conv_logits."),
    (r"roi_head\.semantic_head\.laterals\.(\d+)\.", r"roi_head.semantic_head.lateral_convs.\1.conv."),
    (r"roi_head\.semantic_head\.convs\.(\d+)\.", r"roi_head.semantic_head.convs.\1.conv."),
    (r"roi_head\.semantic_head\.embedding\.", "roi_head.semantic_head.conv_embedding.conv."),
    (r"roi_head\.semantic_head\.logits\.", "roi_head.semantic_head.conv_logits."),
]
_ENCODER = re.compile(r"backbone\.(conv1\.weight|bn1\.|layer\d\.|_conv_stem\.|_bn[01]\.|_blocks\.|_conv_head\.)")
_STAGE = re.compile(r"roi_head\.box_heads\.(\d+)\.")


def _backbone_name(name: str) -> str | None:
    if m := re.fullmatch(r"backbone\.conv1\.conv1\.(conv|norm)\.(\w+)", name):
        return f"backbone.conv1.{m[2]}" if m[1] == "conv" else f"backbone.bn1.{_NORM[m[2]]}"
    block = r"backbone\.res(\d)\.res\d([a-z]\d*)\.(branch2\w|short)\."
    if m := re.fullmatch(block + r"(conv|norm)\.((?:conv_offset\.)?\w+)", name):
        index = ord(m[2]) - ord("a") if len(m[2]) == 1 else int(m[2][1:])
        conv, norm = _BLOCK_PARTS[m[3]]
        where = f"backbone.layer{int(m[1]) - 1}.{index}."
        return f"{where}{conv}.{m[5]}" if m[4] == "conv" else f"{where}{norm}.{_NORM[m[5]]}"
    # An encoder of segmentation nets under a detector; ResNets among them have mmdetection's names.
    return smp_name(name) if _ENCODER.match(name) else None


def mmdet_name(name: str, single_stage: bool = False) -> str:
    """mmdetection's name of one of our parameters or buffers.

    Args:
        name: key of our model's `state_dict()`.
        single_stage: the RoI head has one stage, whose heads mmdetection does not number.

    Raises:
        KeyError: not a name of HTC, Cascade or Mask R-CNN here.
    """
    if found := _backbone_name(name):
        return found
    for pattern, replacement in _RULES:
        if re.match(pattern, name):
            theirs = re.sub(pattern, replacement, name, count=1)
            return re.sub(r"^(roi_head\.(?:bbox|mask)_head)\.0\.", r"\1.", theirs) if single_stage else theirs
    raise KeyError(name)


def name_table(names: Iterable[str]) -> dict[str, str]:
    """Our name -> mmdetection's, of a whole model; no two share one.

    Raises:
        UserError: a tensor of the model has no counterpart in mmdetection.
    """
    listed = list(names)
    single_stage = {m[1] for name in listed if (m := _STAGE.match(name))} == {"0"}
    table: dict[str, str] = {}
    for name in listed:
        try:
            table[name] = mmdet_name(name, single_stage)
        except KeyError as error:
            text = f"The configured model has {name}, for which mmdetection has no counterpart"
            raise UserError(f"{text}; weights go to and fro for HTC, Cascade and Mask R-CNN on ResNet and FPN.") from error
    if len(set(table.values())) < len(table):
        raise AssertionError("two tensors of the model have the same name in mmdetection")
    return table


def canonical(name: str) -> str:
    """A name of a file as mmdetection 2 and 3 write it now: without DistributedDataParallel's prefix or mmcv 0.x's offsets."""
    return re.sub(r"^(backbone\.)?(layer\d\.\d+\.conv2)_offset\.", r"\1\2.conv_offset.", name.removeprefix("module."))


def from_mmdet(name: str, value: np.ndarray) -> np.ndarray:
    """A tensor of mmdetection in our layout: only fully connected weights are transposed. It is its own inverse."""
    return value.T if value.ndim == 2 else value


def shape_in_mmdet(shape: Sequence[int]) -> tuple[int, ...]:
    """mmdetection's shape of one of our tensors."""
    return tuple(shape[::-1]) if len(shape) == 2 else tuple(shape)


def mmdet_shapes(shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """Shapes by our names -> shapes by mmdetection's names, in mmdetection's layout. UserError as `name_table`."""
    return {theirs: shape_in_mmdet(shapes[ours]) for ours, theirs in name_table(shapes).items()}
