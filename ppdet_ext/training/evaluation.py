"""The evaluation within a training: as tools/eval.py would do it, and checked before the first step."""

import logging
import os
from typing import Any

import paddle

from ppdet_ext.config.keys import ENSEMBLE, VIEWS
from ppdet_ext.data.loading.build import load_dataset, make_loader
from ppdet_ext.distributed import world
from ppdet_ext.evaluation.run import metrics_of, run_evaluation
from ppdet_ext.host import Config
from ppdet_ext.inference.build import Inference, steps_of
from ppdet_ext.inference.classes import compare_classes

from .hooks import Evaluate

logger = logging.getLogger("ppdet_ext.engine")


def evaluation_hook(cfg: Config, trained_on: Any) -> Evaluate:
    """Evaluates the model as it is, with the configured steps and metrics, on EvalDataset.

    Args:
        cfg: from `load_config`.
        trained_on: the read TrainDataset.

    Raises:
        UserError: metrics or steps that do not work on EvalDataset.
    """
    first = world()[0] == 0
    dataset = load_dataset(cfg, "EvalDataset")
    for metric in metrics_of(cfg):
        metric.start_on(dataset)
    steps = steps_of(cfg, dataset.class_names, dataset.category_ids)
    if steps is not None:
        steps.check_names([record.name for record in dataset.records])
    loader = make_loader(cfg, dataset, "eval")
    if first:
        _warn(cfg, trained_on, dataset)

    def evaluate_model(model: paddle.nn.Layer) -> dict[str, list[float]]:
        outcome = run_evaluation(Inference(model, steps), dataset, loader, metrics_of(cfg))
        for metric in outcome.metrics:
            logger.info("%s", metric.summary)
        return outcome.numbers

    return Evaluate(evaluate_model, cfg.snapshot_epoch)


def _warn(cfg: Config, trained_on: Any, evaluated_on: Any) -> None:
    compare_classes(evaluated_on.class_names, trained_on.class_names, "TrainDataset", "EvalDataset")
    for key in (VIEWS, ENSEMBLE):
        if cfg.get(key):
            logger.warning("%s is for tools/eval.py and the others; in training one view of this model is evaluated", key)
    trained = {os.path.realpath(record.file) for record in trained_on.records}
    both = [record.name for record in evaluated_on.records if os.path.realpath(record.file) in trained]
    if both:
        logger.warning(
            "%d of the %d evaluated images are trained on (%s%s): their numbers say nothing of other images",
            len(both),
            len(evaluated_on.records),
            ", ".join(both[:5]),
            ", …" if len(both) > 5 else "",
        )
