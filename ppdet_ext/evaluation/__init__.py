"""How good predictions are."""

from ppdet_ext.host.registry import METRICS, register_metric

from .boundary_iou import BoundaryIoU
from .coco_engine import CocoScores
from .coco_inputs import evaluate_coco
from .coco_mask_ap import CocoMaskAP
from .coco_metric import ClassRow, CocoMetric, format_classwise
from .imaterialist import IMaterialistMAP
from .metric import Metric, PartialMetric, build_metric, tuning_metric
from .pixel_metrics import MeanIoU, SeverstalDice
from .pixel_scores import PixelAccuracy, PixelF1, PixelIoU, PixelPrecision, PixelRecall, pixel_score
from .presence import PresenceF1

__all__ = [
    "METRICS",
    "BoundaryIoU",
    "ClassRow",
    "CocoMaskAP",
    "CocoMetric",
    "CocoScores",
    "IMaterialistMAP",
    "MeanIoU",
    "Metric",
    "PartialMetric",
    "PixelAccuracy",
    "PixelF1",
    "PixelIoU",
    "PixelPrecision",
    "PixelRecall",
    "PresenceF1",
    "SeverstalDice",
    "build_metric",
    "evaluate_coco",
    "format_classwise",
    "pixel_score",
    "register_metric",
    "tuning_metric",
]
