"""What an exported model costs in the metric: EvalDataset predicted by the eager model and by the exported one."""

import copy
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.errors import UserError, counted
from ppdet_ext.evaluation.metric import Metric
from ppdet_ext.evaluation.run import metrics_of, run_evaluation
from ppdet_ext.host import Config
from ppdet_ext.inference.build import inference_loader, inference_of
from ppdet_ext.progress import shown
from ppdet_ext.runtime.predictor import Predictor

logger = logging.getLogger("ppdet_ext")
# Metric's part, as "mask" of COCO's -> its deciding number.
Values = dict[str, float]


class NoAnnotationsError(UserError):
    """There is nothing to measure a metric on."""


def accuracy(cfg: Config, folder: Path, images: int, most_drop: float) -> dict[str, Any]:
    """Compare both models by the configured metrics, with TestReader's transforms, and log the numbers.

    Args:
        cfg: from `load_config`, with the weights that were exported.
        folder: the exported model, for ONNX Runtime or OpenVINO.
        images: at most so many, evenly taken of EvalDataset.
        most_drop: points (hundredths) by which a number may fall.

    Returns:
        {"images": …, "eager": {name: value}, "exported": {name: value}}.

    Raises:
        NoAnnotationsError: EvalDataset is not configured, cannot be read, or has no annotations.
        UserError: a number falls by more.
    """
    dataset = _some(_annotated(cfg), images)
    names, ids = dataset.class_names, dataset.category_ids
    outcome = run_evaluation(
        inference_of(cfg, names, ids, "test"), dataset, inference_loader(cfg, dataset, "test"), metrics_of(cfg)
    )
    eager, exported = _deciding(outcome.numbers), _exported(folder, dataset, metrics_of(cfg))
    drops = {name: 100 * (eager[name] - exported[name]) for name in eager}
    told = "; ".join(
        f"{name} {eager[name]:.4f} before, {exported[name]:.4f} after ({-drop:+.2f} points)" for name, drop in drops.items()
    )
    logger.info("%s of EvalDataset: %s", counted(len(dataset.records), "images"), told)
    if max(drops.values()) > most_drop:
        raise UserError(
            f"The exported model is worse than the eager one by more than {most_drop:g} points: {told}. Nothing was written; "
            "try another --precision, more --calibration_images, or allow it with --most_drop."
        )
    return {"images": len(dataset.records), "eager": eager, "exported": exported}


def _annotated(cfg: Config) -> Any:
    """EvalDataset. Raises: NoAnnotationsError."""
    try:
        dataset = load_dataset(cfg, "EvalDataset")
    except UserError as error:
        raise NoAnnotationsError(str(error)) from error
    if not dataset.annotated or not dataset.records:
        raise NoAnnotationsError("EvalDataset has no annotations.")
    return dataset


def _some(dataset: Any, most: int) -> Any:
    """The data set with at most so many of its images, evenly taken."""
    chosen, count = copy.copy(dataset), len(dataset.records)
    places = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    chosen._records = [dataset.records[place] for place in places]
    return chosen


def _exported(folder: Path, dataset: Any, metrics: Sequence[Metric]) -> Values:
    """Numbers of the exported model."""
    predictor, records = Predictor(folder), dataset.records
    for metric in metrics:
        metric.start_on(dataset)
    found = predictor.predict(iter([record.file for record in records]))
    for record, prediction in zip(records, shown(found, len(records), "Eval of the exported model")):
        for metric in metrics:
            metric.update(record.im_id, prediction)
    return {name: value for metric in metrics for name, value in _deciding(metric.compute()).items()}


def _deciding(numbers: dict[str, list[float]]) -> Values:
    """The first number of each list."""
    return {name: float(values[0]) for name, values in numbers.items()}
