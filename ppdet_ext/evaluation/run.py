"""Evaluating a model on a data set: metrics, and files of predictions."""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from ppdet_ext import distributed
from ppdet_ext.data.loading.loader import Loader
from ppdet_ext.distributed.collective import on_every_rank, on_rank_0
from ppdet_ext.errors import UserError
from ppdet_ext.host import Config
from ppdet_ext.host.registry import METRICS
from ppdet_ext.inference.predict import Switchable, in_order, predict
from ppdet_ext.structures import Detections

from .coco_engine import AUTO
from .coco_metric import CocoMetric
from .metric import Metric, build_metric, value_of

logger = logging.getLogger("ppdet_ext")
RESULTS_FILE = "eval.json"  # in the run's folder


class Predicting(Switchable, Protocol):
    """A model: a batch -> the detections of each image."""

    def __call__(self, batch: Any) -> list[Detections]: ...


@dataclass
class Evaluation:
    """Outcome of an evaluation; the same on all ranks but for `metrics`.

    Attributes:
        images: of all ranks.
        seconds: of predicting, until the last rank was through.
        numbers: see `Metric.compute`, of all metrics, the deciding one first. Empty if not asked for.
        named: the same numbers by name: {"bbox": {"AP": …, "AP50": …}, "SeverstalDice": {"all": …, class: …}}.
        values: the number that counts, by the metric's name.
        metrics: hold all predictions on rank 0, none on the others.
    """

    images: int
    seconds: float
    numbers: dict[str, list[float]] = field(default_factory=dict)
    named: dict[str, dict[str, float]] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)
    metrics: list[Metric] = field(default_factory=list)

    def write_predictions(self, folder: Path) -> list[Path]:
        """Write bbox.json and mask.json to `folder`. UserError when it is not writable."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return next(metric for metric in self.metrics if isinstance(metric, CocoMetric)).save_json(folder)
        except OSError as error:
            raise UserError(f"Cannot write predictions to {folder}: {error.strerror or error}") from error


def metrics_of(cfg: Config) -> list[Metric]:
    """The configured metrics, each with the options of its section; COCO's is computed by the `evaluator`."""
    names = [cfg.metric] if isinstance(cfg.metric, str) else cfg.metric
    engine = {"evaluator": cfg.get("evaluator", AUTO)}
    shared = {name: engine if METRICS[name] is CocoMetric else {} for name in names}
    return [build_metric(name, shared[name] | (cfg.get(METRICS[name].__name__) or {})) for name in names]


def run_evaluation(
    model: Predicting,
    dataset: Any,
    loader: Iterable[Mapping[str, Any]],
    metrics: Sequence[Metric] | None = None,
    *,
    with_metrics: bool = True,
) -> Evaluation:
    """Predict every image of a loaded data set and compute metrics from its records, without files.

    Called by all ranks: each predicts the batches of its loader, rank 0 gets the results and computes.

    Args:
        model: the same on all ranks.
        dataset: has records, class_names and category_ids; the same on all ranks.
        loader: over that data set, or this rank's part of it, in eval mode.
        metrics: not started yet; COCO's by default.
        with_metrics: False only collects the predictions (`Evaluation.write_predictions`).

    Raises:
        UserError: an image was not predicted, or more than once; predictions do not fit the data set.
        Exception: as `on_every_rank` and `predict`.
    """
    chosen: list[Metric] = list(metrics or ()) if with_metrics else []
    chosen = chosen or [CocoMetric()]
    # Before hours of predicting: options, annotations.
    on_rank_0(lambda: _start(chosen, dataset, with_metrics), "metrics")
    began = time.perf_counter()
    images = loader.images if isinstance(loader, Loader) else len(dataset.records)
    results = predict(model, loader, images, "Eval", model)
    shards = on_every_rank(lambda: [(im_id, detections) for im_id, _, detections in results], "evaluation")

    def finish() -> Evaluation:
        outcome = Evaluation(len(dataset.records), time.perf_counter() - began)
        _compute(chosen, in_order(dataset.records, shards), outcome, with_metrics)
        return outcome

    outcome = on_rank_0(finish, "metrics")
    return replace(outcome, metrics=chosen if distributed.world()[0] == 0 else [])


def _compute(
    metrics: Sequence[Metric], predictions: Sequence[tuple[int, Detections]], outcome: Evaluation, with_metrics: bool
) -> None:
    """Give the predictions to the metrics, and their numbers to the outcome if they are asked for."""
    distributed.phase("computing metrics")
    logger.info("Total sample number: %d, average FPS: %.2f", outcome.images, outcome.images / max(outcome.seconds, 1e-9))
    for metric in metrics:
        for im_id, detections in predictions:
            metric.update(im_id, detections)
        if with_metrics:
            numbers = metric.compute()
            outcome.numbers |= numbers
            outcome.named |= metric.named(numbers)
            outcome.values[type(metric).__name__] = value_of(numbers)


def _start(metrics: Sequence[Metric], dataset: Any, with_metrics: bool) -> None:
    for metric in metrics:
        if with_metrics:
            metric.start_on(dataset)
        else:
            metric.start(dataset.records, dataset.class_names, dataset.category_ids)
