"""Evaluating a model on a data set: metrics, and files of predictions."""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppdet_ext import distributed
from ppdet_ext.data.loading.loader import Loader
from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.host.registry import METRICS
from ppdet_ext.inference.predict import in_order, predict
from ppdet_ext.structures import Detections

from .coco_metric import CocoMetric
from .metric import Metric, build_metric

logger = logging.getLogger("ppdet_ext.engine")


@dataclass
class Evaluation:
    """Outcome of an evaluation; the same on all ranks but for `metric`.

    Attributes:
        images: of all ranks.
        seconds: of predicting, until the last rank was through.
        numbers: see `Metric.compute`, of all metrics, the deciding one first. Empty if not asked for.
        metrics: hold all predictions on rank 0, none on the others.
    """

    images: int
    seconds: float
    numbers: dict[str, list[float]]
    metrics: list[Metric]

    def write_predictions(self, folder: Path) -> list[Path]:
        """Write bbox.json and mask.json to `folder`. UserError when it is not writable."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return next(metric for metric in self.metrics if isinstance(metric, CocoMetric)).save_json(folder)
        except OSError as error:
            raise UserError(f"Cannot write predictions to {folder}: {error.strerror or error}") from error


def metrics_of(cfg: Config) -> list[Metric]:
    """The configured metrics, each with the options of its section."""
    names = [cfg.metric] if isinstance(cfg.metric, str) else cfg.metric
    return [build_metric(name, dict(cfg.get(METRICS[name].__name__) or {})) for name in names]


def run_evaluation(
    model: Callable[[dict[str, Any]], list[Detections]],
    dataset: Any,
    loader: Iterable[dict[str, Any]],
    metrics: Sequence[Metric] | None = None,
    *,
    with_metrics: bool = True,
) -> Evaluation:
    """Predict every image of a loaded data set and compute metrics from its records, without files.

    Called by all ranks: each predicts the batches of its loader, rank 0 gets the results and computes.

    Args:
        model: see `predict`; the same on all ranks.
        dataset: has records, class_names and category_ids; the same on all ranks.
        loader: over that data set, or this rank's part of it, in eval mode.
        metrics: not started yet; COCO's by default.
        with_metrics: False only collects the predictions (`Evaluation.write_predictions`).

    Raises:
        UserError: an image was not predicted, or more than once; predictions do not fit the data set.
        Exception: as `on_every_rank` and `predict`.
    """
    chosen = list(metrics or [CocoMetric()]) if with_metrics else [CocoMetric()]
    # Before hours of predicting: options, annotations.
    on_rank_0(lambda: _start(chosen, dataset, with_metrics), "metrics")
    began = time.perf_counter()
    images = loader.images if isinstance(loader, Loader) else len(dataset.records)
    shards = on_every_rank(lambda: [(im_id, found) for im_id, _, found in predict(model, loader, images, "Eval")], "evaluation")

    def finish() -> tuple[float, dict[str, list[float]]]:
        distributed.phase("computing metrics")
        seconds = time.perf_counter() - began
        predictions = in_order(dataset.records, shards)
        for metric in chosen:
            for im_id, detections in predictions:
                metric.update(im_id, detections)
        logger.info(
            "Total sample number: %d, average FPS: %.2f", len(dataset.records), len(dataset.records) / max(seconds, 1e-9)
        )
        numbers: dict[str, list[float]] = {}
        for metric in chosen if with_metrics else ():
            numbers |= metric.compute()
        return seconds, numbers

    seconds, numbers = on_rank_0(finish, "metrics")
    return Evaluation(len(dataset.records), seconds, numbers, chosen if distributed.world()[0] == 0 else [])


def _start(metrics: Sequence[Metric], dataset: Any, with_metrics: bool) -> None:
    for metric in metrics:
        if with_metrics:
            metric.start_on(dataset)
        else:
            metric.start(dataset.records, dataset.class_names, dataset.category_ids)
