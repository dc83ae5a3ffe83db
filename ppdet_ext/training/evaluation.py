"""The evaluation within a training: as tools/eval.py would do it, and checked before the first step."""

import logging
import os
from collections.abc import Callable

import paddle

from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.data.loading.loader import Loader
from ppdet_ext.evaluation.metric import Metric, gain_over_nothing
from ppdet_ext.evaluation.run import run_evaluation
from ppdet_ext.inference.build import Inference
from ppdet_ext.inference.classes import compare_classes
from ppdet_ext.postprocess import PostProcess
from ppdet_ext.structures import Detections

from .hooks import Evaluate
from .hooks.evaluate import decisive
from .state import Named, Numbers

SHOWN = 5
logger = logging.getLogger("ppdet_ext")


class BestFound:
    """What the best evaluation of a training has found, for a report at its end without predicting again.

    Attributes:
        dataset: that it was of; None before the first.
        numbers: of its metrics.
        detections: by image id, on rank 0; none on others.
    """

    def __init__(self) -> None:
        self.dataset: InstanceDataSet | None = None
        self.numbers: Numbers = {}
        self.detections: dict[int, Detections] = {}

    def take(self, dataset: InstanceDataSet, numbers: Numbers, detections: dict[int, Detections]) -> None:
        """Keep an evaluation if it is better than what is kept, as `best_model.pdparams` is (see `decisive`)."""
        if self.dataset is None or decisive(numbers)[1] > decisive(self.numbers)[1]:
            self.dataset, self.numbers, self.detections = dataset, numbers, detections


def evaluation_hook(
    dataset: InstanceDataSet,
    loader: Loader,
    steps: PostProcess | None,
    new_metrics: Callable[[], list[Metric]],
    snapshot_epoch: int,
    reading: Reading = AS_SHOWN,
    best: BestFound | None = None,
) -> Evaluate:
    """Evaluates the model as it is on a data set.

    Args:
        dataset: read.
        loader: of it, in eval mode.
        steps: after the model; None for none.
        new_metrics: gives metrics that are not started, the deciding one first.
        snapshot_epoch: epochs between evaluations.
        reading: how pictures that steps ask for are read.
        best: keeps what the best evaluation finds.

    Raises:
        UserError: metrics or steps that do not work on the data set.
    """
    for metric in new_metrics():
        metric.start_on(dataset)
    if steps is not None:
        steps.check_names([record.name for record in dataset.records])

    def evaluate_model(model: paddle.nn.Layer) -> tuple[Numbers, Named]:
        inference = Inference(model, steps, reading=reading)
        inference.check_names(dataset)
        outcome = run_evaluation(inference, dataset, loader, new_metrics())
        for metric in outcome.metrics:
            logger.info("%s", metric.summary)
            name = type(metric).__name__
            if text := gain_over_nothing(name, outcome.values[name], metric.value_of_nothing()):
                logger.info("%s", text)
        if best is not None:
            best.take(dataset, outcome.numbers, outcome.metrics[0].detections if outcome.metrics else {})
        return outcome.numbers, outcome.named

    return Evaluate(evaluate_model, snapshot_epoch)


def warn_of_data(trained_on: InstanceDataSet, evaluated_on: InstanceDataSet) -> None:
    """Log what makes an evaluation on one data set say little of a training on the other."""
    compare_classes(evaluated_on.class_names, trained_on.class_names, "TrainDataset", "EvalDataset")
    trained = {os.path.realpath(record.file) for record in trained_on.records}
    both = [record.name for record in evaluated_on.records if os.path.realpath(record.file) in trained]
    if both:
        logger.warning(
            "%d of the %d evaluated images are trained on (%s%s): their numbers say nothing of other images",
            len(both),
            len(evaluated_on.records),
            ", ".join(both[:SHOWN]),
            ", …" if len(both) > SHOWN else "",
        )
