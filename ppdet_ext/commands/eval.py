"""Evaluating weights from a configuration."""

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from ppdet_ext import distributed
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.keys import ENSEMBLE
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.evaluation import CocoMetric, format_classwise
from ppdet_ext.evaluation.metric import gain_over_nothing
from ppdet_ext.evaluation.run import RESULTS_FILE, Evaluation, metrics_of, run_evaluation
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.host import Config
from ppdet_ext.inference.build import inference_loader
from ppdet_ext.inference.predictor import prepare
from ppdet_ext.submission.header import origin_of

from .cli import config_of

logger = logging.getLogger("ppdet_ext")


def evaluate(
    cfg: Config,
    *,
    classwise: bool = False,
    save_prediction_only: bool = False,
    output_eval: str | Path | None = None,
) -> Evaluation:
    """Evaluate `cfg.weights` on EvalDataset; logs the metrics' tables and writes the numbers to `eval.json`.

    Every rank predicts its part; rank 0 computes, logs and writes. The numbers do not depend on the number of ranks.

    Args:
        cfg: from `load_config`.
        classwise: log a table of AP per class too.
        save_prediction_only: write bbox.json and mask.json instead of computing metrics.
        output_eval: folder for those files; the run's folder by default.

    Raises:
        UserError: for what the user can mend.
    """
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        model, dataset = prepare(cfg, "EvalDataset")
        loader = inference_loader(cfg, dataset, "eval")
        # As loaded: a training may write better weights in the meantime.
        origin = origin_of(cfg) if distributed.world()[0] == 0 else {}
        outcome = run_evaluation(model, dataset, loader, metrics_of(cfg), with_metrics=not save_prediction_only)
        folder = Path(output_eval) if output_eval else run_folder(cfg)
        on_rank_0(
            lambda: _write(outcome, folder, str(cfg.get(ENSEMBLE) or cfg.weights), origin, classwise), "writing the results"
        )
    return outcome


def _write(outcome: Evaluation, folder: Path, weights: str, origin: dict[str, Any], classwise: bool) -> None:
    if not outcome.numbers:
        for path in outcome.write_predictions(folder):
            logger.info("Wrote %s", path)
        return
    nothing: dict[str, float] = {}
    for metric in outcome.metrics:
        logger.info("%s", metric.summary)
        if classwise and isinstance(metric, CocoMetric):
            logger.info("Per class:\n%s", format_classwise(metric.classwise()))
        name = type(metric).__name__
        nothing[name] = metric.value_of_nothing()
        if text := gain_over_nothing(name, outcome.values[name], nothing[name]):
            logger.info("%s", text)
    record = {
        "weights": weights,
        "images": outcome.images,
        "seconds": outcome.seconds,
        **outcome.numbers,
        "named": outcome.named,
        "empty_submission": {name: value for name, value in nothing.items() if value > 0},
        "origin": origin,
    }
    for metric in outcome.metrics:
        if isinstance(metric, CocoMetric):
            record["evaluator"] = metric.engine
    write_atomic(folder / RESULTS_FILE, lambda aside: aside.write_text(json.dumps(record, indent=1)), "--output_eval")


def run(args: argparse.Namespace) -> Evaluation:
    """`evaluate` with the flags of `eval_parser`."""
    return evaluate(
        config_of(args),
        classwise=args.classwise,
        output_eval=args.output_eval,
        save_prediction_only=args.save_prediction_only,
    )
