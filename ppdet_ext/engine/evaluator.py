"""Running a model over a data set: predictions, COCO metrics, prediction files."""

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppdet_ext.errors import DivergenceError, UserError
from ppdet_ext.evaluation import CocoMetric
from ppdet_ext.structures import Detections

from . import interrupt
from .progress import track

logger = logging.getLogger("ppdet_ext.engine")


@dataclass
class Evaluation:
    """Outcome of an evaluation: the metric (still holding all predictions), its numbers, and the time it took."""

    metric: CocoMetric
    images: int
    seconds: float
    numbers: dict[str, list[float]] = field(default_factory=dict)

    def write_predictions(self, folder: Path) -> list[Path]:
        """Write bbox.json and mask.json to `folder`. UserError when it is not writable."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
            return self.metric.save_json(folder)
        except OSError as error:
            raise UserError(f"Cannot write predictions to {folder}: {error.strerror or error}") from error


def predict(
    model: paddle.nn.Layer, loader: Iterable[dict[str, Any]], images: int, title: str
) -> Iterator[tuple[int, str, Detections]]:
    """(image id, name, detections) for each image of the loader; the model's train/eval mode is put back at the end.

    Args:
        model: in eval mode `model(batch)` gives one `Detections` per image.
        images: number of images in all, for the progress display.
        title: of the progress display.
    """
    training = model.training
    model.eval()
    try:
        for batch in track(loader, images, title, lambda batch: len(batch["names"])):
            interrupt.check()
            try:
                with paddle.no_grad():
                    found = model(batch)
            except DivergenceError as error:
                raise DivergenceError(f"{error} (images: {', '.join(map(str, batch['names']))})") from error
            for im_id, name, detections in zip(np.asarray(batch["im_id"]).reshape(-1), batch["names"], found):
                yield int(im_id), str(name), detections
    finally:
        if training:
            model.train()


def run_evaluation(
    model: paddle.nn.Layer, dataset: Any, loader: Iterable[dict[str, Any]], *, with_metrics: bool = True
) -> Evaluation:
    """Predict every image of a loaded data set and compute COCO's numbers from its records, without files.

    Args:
        model: see `predict`.
        dataset: has records, class_names and category_ids.
        loader: over that data set, in eval mode.
        with_metrics: False only collects the predictions (`metric.save_json`).
    """
    began = time.perf_counter()
    metric: CocoMetric | None = None
    for im_id, _, detections in predict(model, loader, len(dataset.records), "Eval"):
        if metric is None:
            metric = _metric(dataset, with_masks=detections.masks is not None)
        metric.update(im_id, detections)
    metric = metric or _metric(dataset, with_masks=True)
    seconds = time.perf_counter() - began
    images = len(dataset.records)
    logger.info("Total sample number: %d, average FPS: %.2f", images, images / max(seconds, 1e-9))
    numbers = metric.compute() if with_metrics else {}
    return Evaluation(metric, images, seconds, numbers)


def _metric(dataset: Any, with_masks: bool) -> CocoMetric:
    kinds = ("bbox", "segm") if with_masks else ("bbox",)
    return CocoMetric(dataset.records, dataset.class_names, dataset.category_ids, iou_types=kinds)
