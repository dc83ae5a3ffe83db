"""How good predictions are."""

from .build import build_metric, tuning_metric
from .coco_cells import CocoMaskAP
from .coco_metric import ClassRow, CocoMetric, format_classwise
from .dice import SeverstalDice
from .imaterialist import IMaterialistMAP
from .mean_iou import MeanIoU
from .metric import METRICS, CellMetric, Metric, Truth, register_metric

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
