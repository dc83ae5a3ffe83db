"""Metrics from their names in a configuration or on a command line."""

from collections.abc import Mapping
from typing import Any

from ppdet_ext.errors import UserError, nearest
from ppdet_ext.host.registry import METRICS

from .metric import CellMetric, Metric


def build_metric(name: str, options: Mapping[str, Any] | None = None) -> Metric:
    """The metric of that name, not started. UserError naming the nearest one that exists, or the option at fault."""
    if name not in METRICS:
        raise UserError(f"metric: there is no {name!r}.{nearest(name, METRICS)} There are {', '.join(METRICS)}.")
    try:
        return METRICS[name](**(options or {}))
    except TypeError as fault:
        raise UserError(f"{name}: {str(fault).split('__init__() ')[-1]}.") from None


def tuning_metric(name: str, options: Mapping[str, Any] | None = None) -> CellMetric:
    """A metric made of cells for searching thresholds; for COCO its mask AP, `CocoMaskAP`, which has no options."""
    metric = build_metric(name, options)
    return metric if isinstance(metric, CellMetric) else build_metric("CocoMaskAP")
