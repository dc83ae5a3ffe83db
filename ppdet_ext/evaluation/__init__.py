"""How good predictions are."""

from ppdet_ext.evaluation.coco_metric import ClassRow, CocoMetric, format_classwise

__all__ = ["ClassRow", "CocoMetric", "format_classwise"]
