"""Makes all parts of this package known to ppdet, and to configurations: `import ppdet_ext.register`."""

from .data import datasets, transforms
from .data.loading import build, collate
from .evaluation import coco_mask_ap
from .host import detector, optimizer, schedules, solov2
from .inference import refine_masks
from .modeling import backbones, detection, segmentation
from .postprocess import base
from .training import hooks

__all__ = [
    "backbones",
    "base",
    "build",
    "coco_mask_ap",
    "collate",
    "datasets",
    "detection",
    "detector",
    "hooks",
    "optimizer",
    "refine_masks",
    "schedules",
    "segmentation",
    "solov2",
    "transforms",
]
