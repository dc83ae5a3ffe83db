"""How good predictions are."""

from ppdet_ext.host.registry import METRICS, register_metric

from .coco_mask_ap import CocoMaskAP
from .coco_metric import ClassRow, CocoMetric, format_classwise
from .imaterialist import IMaterialistMAP
from .metric import Metric, PartialMetric, build_metric, tuning_metric
from .pixel_metrics import MeanIoU, SeverstalDice

__all__ = [
    "METRICS",
    "ClassRow",
    "CocoMaskAP",
    "CocoMetric",
    "IMaterialistMAP",
    "MeanIoU",
    "Metric",
    "PartialMetric",
    "SeverstalDice",
    "build_metric",
    "format_classwise",
    "register_metric",
    "tuning_metric",
]
