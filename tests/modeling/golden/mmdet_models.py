"""The reference's models with the recipe's weights, for `make_from_mmdet.py`; needs mmdet 3.3.0, mmcv 2.1.0 and torch."""

import sys
from pathlib import Path

import mmdet
import numpy as np
import torch
from mmcv.ops.nms import ext_module
from mmdet.models.roi_heads.mask_heads import fcn_mask_head
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import MODELS
from mmdet.utils import register_all_modules
from mmengine.config import Config, ConfigDict

sys.path.insert(0, str(Path(__file__).parents[2] / "support"))
from baseline_recipe import parameter_of

_plain_nms, _plain_paste = ext_module.nms, fcn_mask_head._do_paste_mask
_CONFIGS = Path(mmdet.__file__).parent / ".mim" / "configs"
_HTC = "htc/htc_r50_fpn_1x_coco.py"
_CONFIG_OF = {
    "tiny_a": _HTC,
    "tiny_b": "htc/htc-without-semantic_r50_fpn_1x_coco.py",
    "tiny_c": _HTC,
    "tiny_cascade": "_base_/models/cascade-mask-rcnn_r50_fpn.py",
    "tiny_mask": "_base_/models/mask-rcnn_r50_fpn.py",
    "full_a": _HTC,
    "full_c": "htc/htc_x101-64x4d-dconv-c3-c5_fpn_ms-400-1400-16xb1-20e_coco.py",
}


def build(name: str, double: bool = False) -> torch.nn.Module:
    """One of _CONFIG_OF in evaluation mode, float32 or float64."""
    register_all_modules()
    torch.set_num_threads(2)
    RandomSampler.random_choice = lambda self, gallery, num: gallery[:num]  # must not depend on chance
    ext_module.nms, fcn_mask_head._do_paste_mask = _nms, _paste
    config = Config.fromfile(str(_CONFIGS / _CONFIG_OF[name])).model
    config.backbone.init_cfg = None
    if name.startswith("tiny"):
        narrow(config)
    if name == "tiny_c":
        config.backbone.update(type="ResNeXt", groups=4, base_width=4)
        config.backbone.update(
            dcn={"type": "DCN", "deform_groups": 1, "fallback_on_stride": False}, stage_with_dcn=(False, True, True, True)
        )
    model = MODELS.build(config)
    model.load_state_dict({k: torch.from_numpy(weight(k, tuple(v.shape), name)) for k, v in model.state_dict().items()})
    model = model.double() if double else model
    return model.eval()


def _nms(boxes: torch.Tensor, scores: torch.Tensor, **settings) -> torch.Tensor:
    """mmcv's suppression, which on a CPU reads float32 whatever it is given."""
    return _plain_nms(boxes.float(), scores.float(), **settings)


def _paste(masks: torch.Tensor, boxes: torch.Tensor, *args, **kwargs) -> tuple:
    """mmdet's pasting, whose grid is float32."""
    return _plain_paste(masks.float(), boxes.float(), *args, **kwargs)


def weight(key: str, shape: tuple[int, ...], name: str) -> np.ndarray:
    """The recipe's value of one tensor."""
    return np.zeros(shape, np.int64) if key.endswith("num_batches_tracked") else parameter_of(key, shape, name)


def narrow(config: ConfigDict) -> None:
    """A tiny model's widths: 16 channels in the stem, 32 in the pyramid, 64 in the box heads, 4 classes, 128 samples."""
    config.backbone.base_channels = 16
    config.neck.update(in_channels=[64, 128, 256, 512], out_channels=32)
    config.rpn_head.update(in_channels=32, feat_channels=32)
    head = config.roi_head
    for extractor in ("bbox_roi_extractor", "mask_roi_extractor", "semantic_roi_extractor"):
        if extractor in head:
            head[extractor].out_channels = 32
    for part in _as_list(head.bbox_head):
        part.update(in_channels=32, fc_out_channels=64, num_classes=4)
    for part in _as_list(head.mask_head):
        part.update(in_channels=32, conv_out_channels=32, num_classes=4)
    if "semantic_head" in head:
        head.semantic_head.update(in_channels=32, conv_out_channels=32, num_classes=5)
    for part in _as_list(config.train_cfg.rcnn):
        part.sampler.num = 128


def _as_list(parts: object) -> list:
    return list(parts) if isinstance(parts, (list, tuple)) else [parts]
