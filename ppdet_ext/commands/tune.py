"""The command behind tools/tune.py: thresholds for the configured model, searched on EvalDataset."""

import argparse
import functools
import logging
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext import distributed
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.keys import ENSEMBLE, POSTPROCESS, VIEWS
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.data.splits.duplicates import same_bytes
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.evaluation.metric import PartialMetric
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.host import Config
from ppdet_ext.host.build import architecture_of
from ppdet_ext.inference.build import settings_of
from ppdet_ext.inference.candidate_store import candidates_of
from ppdet_ext.structures import Candidates, Record, TestSettings
from ppdet_ext.tuning.options import Predicting, SearchBounds, Searching
from ppdet_ext.tuning.plot import draw_score_curves
from ppdet_ext.tuning.report import command_line, format_ablation, tuned_yaml
from ppdet_ext.tuning.scorer import Scorer
from ppdet_ext.tuning.setting import Thresholds, from_steps
from ppdet_ext.tuning.tuner import Problem, Tuned, tune_candidates

from .cli import config_of
from .flags import TUNED_FILE

logger = logging.getLogger("ppdet_ext.engine")


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

    Raises: UserError for what the user can mend.
    """
    predicting.check()
    searching.check()
    make_metric = _metric_of(cfg)
    target = Path(output) if output else run_folder(cfg) / TUNED_FILE
    outcomes: list[Tuned] = []
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        on_rank_0(lambda: _check_files(target, plot), "looking at the files to write")
        settings = _with_thresholds(settings_of(cfg), predicting)
        problem = _problem(cfg, settings, make_metric)

        def search() -> None:
            outcome, scorer, bounds = _search(problem, settings, searching, cfg.worker_num)
            _write(target, problem, outcome, _sections(cfg, settings), command_line("tools/tune.py", command))
            if plot:
                _plot(Path(plot), scorer, outcome, problem, bounds)
            outcomes.append(outcome)

        on_rank_0(search, "searching thresholds")
    return outcomes[0] if outcomes else None


def _with_thresholds(configured: TestSettings, predicting: Predicting) -> TestSettings:
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


def _metric_of(cfg: Config) -> Callable[[], PartialMetric]:
    """Makes the metric. UserError, before anything is predicted, for options that do not exist, and without masks."""
    name = cfg.metric if isinstance(cfg.metric, str) else cfg.metric[0]
    make_metric = functools.partial(tuning_metric, name, dict(cfg.resolved.get(name) or {}))
    make_metric()
    if not architecture_of(cfg).has_masks(cfg):
        raise UserError("The model has no masks (HTCRoIHead.with_mask: false), whose thresholds are searched.")
    return make_metric


def _problem(cfg: Config, settings: TestSettings, make_metric: Callable[[], PartialMetric]) -> Problem:
    """What is to be searched, with candidates on rank 0."""
    steps = list(cfg.get(POSTPROCESS) or [])
    configured = settings_of(cfg)
    dataset = load_dataset(cfg, "EvalDataset")
    _check_truth(dataset)
    make_metric().start_on(dataset)
    names, ids = list(dataset.class_names), list(dataset.category_ids)
    start = Thresholds(
        max(configured.score_threshold, settings.score_threshold), configured.nms_iou, float(configured.mask_threshold), 0
    )
    model_steps: list[Mapping[str, Any]] = [
        {"BoxNMS": {"iou": start.nms_iou}},
        {"ScoreThreshold": {"score": start.score}},
        {"TopK": {"k": configured.max_detections}},
    ]
    setting, others = from_steps(start, steps, names, ids)
    found = candidates_of(cfg, dataset, settings) or []
    return Problem(
        make_metric, dataset.records, names, ids, found, setting, others, start.mask_threshold, model_steps, configured=steps
    )


def _search(problem: Problem, settings: TestSettings, searching: Searching, workers: int) -> tuple[Tuned, Scorer, SearchBounds]:
    _check_found(problem.candidates, settings.score_threshold)
    bounds = SearchBounds(settings.score_threshold, settings.nms_iou, searching.min_instances, searching.min_gain)
    outcome, scorer = tune_candidates(
        problem,
        bounds,
        folds=searching.folds,
        groups=_same_pictures(problem.records) if searching.folds else None,
        keep_per_class=searching.keep_per_class,
        workers=workers,
        report_phase=distributed.phase,
    )
    logger.info("%s", format_ablation(_name(scorer.metric), outcome))
    for warning in outcome.warnings:
        logger.warning("%s", warning)
    return outcome, scorer, bounds


def _same_pictures(records: Sequence[Record]) -> np.ndarray:
    groups = same_bytes([record.file for record in records])
    copies = len(groups) - len(np.unique(groups))
    if copies:
        logger.info("%d of %d images are copies of others, byte by byte; they share a fold of the check", copies, len(groups))
    return groups


def _name(metric: PartialMetric) -> str:
    """COCO is tuned by another one."""
    return type(metric).__name__


def _write(target: Path, problem: Problem, outcome: Tuned, sections: dict[str, Any], command: str) -> None:
    text = tuned_yaml(_name(problem.make_metric()), outcome, problem, sections, command)
    write_atomic(target, lambda aside: aside.write_text(text, encoding="utf-8"), "--output")
    logger.info("Wrote %s; use it with --postprocess %s", target, shlex.quote(str(target)))


def _sections(cfg: Config, settings: TestSettings) -> dict[str, Any]:
    """Sections of the configuration that the thresholds belong to: what is averaged, and what the model lets through."""
    averaged = {key: cfg.resolved[key] for key in (VIEWS, ENSEMBLE) if cfg.resolved.get(key)}
    thresholds = {name: getattr(settings, name) for name in ("score_threshold", "nms_iou", "max_detections")}
    return averaged | architecture_of(cfg).settings_sections(**thresholds)


def _check_truth(dataset: Any) -> None:
    if not dataset.annotated:
        raise UserError("EvalDataset has no annotations to compare with; thresholds are searched on a validation split.")
    if not dataset.records:
        raise UserError("EvalDataset has no images; thresholds are searched on a validation split.")
    if not any(len(record.labels) for record in dataset.records):
        raise UserError(f"No object is annotated in the {len(dataset.records)} images of EvalDataset; nothing can be searched.")


def _check_found(found: Sequence[Candidates], score: float) -> None:
    if not any(len(one) for one in found):
        raise UserError(
            f"The model found nothing of score {score:g} or more in {len(found)} images. Is it trained, and with these "
            "classes? Or take a lower --score_threshold."
        )


def _plot(path: Path, scorer: Scorer, outcome: Tuned, problem: Problem, bounds: SearchBounds) -> None:
    def write(aside: Path) -> None:
        count = draw_score_curves(aside, _name(scorer.metric), scorer, outcome.chosen.setting, problem.class_names, bounds)
        logger.info("Wrote %s: %d classes", path, count)

    write_atomic(path, write, "--plot")


def run(args: argparse.Namespace) -> Tuned | None:
    """`tune` with the flags of `tune_parser`."""
    return tune(
        config_of(args),
        output=args.output,
        predicting=Predicting(args.score_threshold, args.nms_iou, args.max_detections),
        searching=Searching(args.folds, args.min_instances, args.min_gain, args.keep_per_class),
        plot=args.plot,
        command=args.words,
    )
