"""The command behind tools/tune.py: thresholds for the configured model, searched on EvalDataset."""

import argparse
import functools
import logging
import shlex
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.keys import CLASSIFIER, ENSEMBLE, ENSEMBLE_MEAN, POSTPROCESS, VIEWS
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.evaluation.metric import PartialMetric
from ppdet_ext.files.atomic import demand_writable
from ppdet_ext.host import Config
from ppdet_ext.host.build import architecture_of
from ppdet_ext.inference.build import reading_of
from ppdet_ext.inference.candidate_store import candidates_of
from ppdet_ext.inference.members import settings_of
from ppdet_ext.inference.presence import is_classifier
from ppdet_ext.structures import TestSettings
from ppdet_ext.tuning.options import CRITERIA, Predicting, Searching
from ppdet_ext.tuning.presence import PresenceTuned
from ppdet_ext.tuning.run import make_problem, search_problem, write_plot, write_tuned
from ppdet_ext.tuning.tuner import Tuned

from .cli import config_of
from .flags import TUNED_FILE
from .tune_classifier import refuse_flags, tune_classifier

TOOL = "tools/tune.py"
logger = logging.getLogger("ppdet_ext")


def tune(
    cfg: Config,
    *,
    output: str | Path | None = None,
    predicting: Predicting = Predicting(),  # noqa: B008 (frozen)
    searching: Searching = Searching(),  # noqa: B008 (frozen)
    plot: str | Path | None = None,
    command: Sequence[str] = (),
) -> Tuned | None:
    """Search thresholds, log what they gain, write them; all ranks predict, rank 0 searches and returns the outcome.

    Args:
        cfg: from `load_config`; its (first) `metric` is raised.
        output: YAML file; `tuned.yml` in the run's folder by default.
        predicting, searching: options.
        plot: PNG file for the score threshold's curves.
        command: words after the script's name, for the file.
    """
    predicting.check()
    searching.check()
    make_metric = metric_of(cfg)
    target = Path(output) if output else run_folder(cfg) / TUNED_FILE
    outcomes: list[Tuned] = []
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        on_rank_0(lambda: _check_files(target, plot), "looking at the files to write")
        configured = settings_of(cfg)
        loose = with_thresholds(configured, predicting)
        dataset, steps = load_dataset(cfg, "EvalDataset"), list(cfg.get(POSTPROCESS) or [])
        problem = make_problem(
            *(dataset, make_metric, configured, loose, steps),
            predict=lambda: candidates_of(cfg, dataset, loose),
            reading=reading_of(cfg, "eval"),
        )

        def search() -> None:
            outcome, scorer, bounds = search_problem(problem, loose, searching, cfg.worker_num)
            write_tuned(target, problem, outcome, sections_of(cfg, loose), command, TOOL)
            use = f"use it with --postprocess {shlex.quote(str(target))}"
            logger.info("Wrote %s; %s", target, use if outcome.usable else "do not use it, as the warning says")
            if plot:
                write_plot(Path(plot), scorer, outcome, problem, bounds)
            outcomes.append(outcome)

        on_rank_0(search, "searching thresholds")
    return outcomes[0] if outcomes else None


def with_thresholds(configured: TestSettings, predicting: Predicting) -> TestSettings:
    """The configured settings with the thresholds that candidates are predicted with."""
    most = predicting.max_detections or configured.max_detections
    return replace(configured, score_threshold=predicting.score_threshold, nms_iou=predicting.nms_iou, max_detections=most)


def _check_files(target: Path, plot: str | Path | None) -> None:
    """UserError, before anything is predicted, where one of them could not be written."""
    demand_writable(target, "--output")
    if plot:
        demand_writable(Path(plot), "--plot")
        if Path(plot).resolve() == target.resolve():
            raise UserError(f"--plot and --output are the same file, {target}.")


def metric_of(cfg: Config) -> Callable[[], PartialMetric]:
    """Makes the metric. UserError, before anything is predicted, for options that do not exist, and without masks."""
    name = cfg.metric if isinstance(cfg.metric, str) else cfg.metric[0]
    make_metric = functools.partial(tuning_metric, name, dict(cfg.resolved.get(name) or {}))
    make_metric()
    if not architecture_of(cfg).has_masks(cfg):
        raise UserError("The model has no masks, whose thresholds are searched (HTC: HTCRoIHead.with_mask decides).")
    return make_metric


def sections_of(cfg: Config, settings: TestSettings) -> dict[str, Any]:
    """Sections of the configuration that the thresholds belong to: what is averaged, and what the model lets through."""
    averaged = {key: cfg.resolved[key] for key in (VIEWS, ENSEMBLE, ENSEMBLE_MEAN, CLASSIFIER) if cfg.resolved.get(key)}
    thresholds = {name: getattr(settings, name) for name in ("score_threshold", "nms_iou", "max_detections")}
    return averaged | architecture_of(cfg).settings_sections(**thresholds)


def run(args: argparse.Namespace) -> Tuned | PresenceTuned | None:
    """`tune`, or of a classifier `tune_classifier`, with the flags of `tune_parser`."""
    cfg = config_of(args)
    searching = Searching(args.folds, args.min_instances, args.min_gain, args.keep_per_class)
    if is_classifier(cfg):
        refuse_flags(args)
        return tune_classifier(
            cfg,
            str(args.config),
            output=args.output,
            criterion=args.criterion or CRITERIA[0],
            searching=searching,
            command=args.words,
        )
    if args.criterion:
        raise UserError(f"--criterion is of classifiers; {cfg.architecture} is tuned by --metric.")
    return tune(
        cfg,
        output=args.output,
        predicting=Predicting(args.score_threshold, args.nms_iou, args.max_detections),
        searching=searching,
        plot=args.plot,
        command=args.words,
    )
