"""How good predictions are."""

from ppdet_ext.host.registry import METRICS, register_metric

from .build import build_metric, tuning_metric
from .coco_mask_ap import CocoMaskAP
from .coco_metric import ClassRow, CocoMetric, format_classwise
from .imaterialist import IMaterialistMAP
from .mean_iou import MeanIoU
from .metric import CellMetric, Metric, Truth
from .severstal_dice import SeverstalDice

__all__ = [
    "METRICS",
    "CellMetric",
    "ClassRow",
    "CocoMaskAP",
    "CocoMetric",
    "IMaterialistMAP",
    "MeanIoU",
    "Metric",
    "SeverstalDice",
    "Truth",
    "build_metric",
    "format_classwise",
    "register_metric",
    "tuning_metric",
]
