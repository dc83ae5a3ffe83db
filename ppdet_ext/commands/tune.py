"""The command behind tools/tune.py: thresholds for the configured model, searched on EvalDataset."""

import argparse
import functools
import logging
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext import distributed
from ppdet_ext.checkpoint.run_folder import run_folder
from ppdet_ext.config.inference import ENSEMBLE, POSTPROCESS, VIEWS
from ppdet_ext.data.loading.build import load_dataset
from ppdet_ext.data.splits.same_bytes import same_bytes
from ppdet_ext.distributed.collective import on_rank_0
from ppdet_ext.distributed.group import among_ranks
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.evaluation.metric import CellMetric
from ppdet_ext.files.atomic import demand_writable, write_atomic
from ppdet_ext.host import Config
from ppdet_ext.host.build import architecture_of
from ppdet_ext.inference.build import settings_of
from ppdet_ext.inference.candidate_store import candidates_of
from ppdet_ext.structures import Candidates, Record, TestSettings
from ppdet_ext.tuning.plot import draw_score_curves
from ppdet_ext.tuning.report import command_line, format_ladder, tuned_yaml
from ppdet_ext.tuning.scorer import Scorer
from ppdet_ext.tuning.search import Limits
from ppdet_ext.tuning.setting import Thresholds, from_steps
from ppdet_ext.tuning.tuner import Problem, Tuned, tune_candidates

from .cli import add_postprocess_flag, base_parser

TUNED_FILE = "tuned.yml"
logger = logging.getLogger("ppdet_ext.engine")


@dataclass(frozen=True)
class Searching:
    """Options of the search: see `Limits` and `tune_candidates`."""

    folds: int = 5
    min_instances: int = Limits.min_instances
    min_gain: float = Limits.min_gain
    keep_per_class: bool = False

    def check(self) -> None:
        """UserError for values that are impossible."""
        if self.folds < 0 or self.folds == 1:
            raise UserError(f"--folds is {self.folds}; at least 2 are needed for the cross-fold check, and 0 goes without it.")
        if self.min_instances < 0:
            raise UserError(f"--min_instances is {self.min_instances}; it cannot be negative.")
        if not 0 <= self.min_gain < math.inf:
            raise UserError(f"--min_gain is {self.min_gain:g}; expected a number of 0 or more, such as {Limits.min_gain}.")


@dataclass(frozen=True)
class Predicting:
    """Thresholds that candidates are predicted with; what they leave out, no search finds. None: as configured."""

    score_threshold: float = 0.01
    nms_iou: float = 0.65
    max_detections: int | None = None

    def applied_to(self, configured: TestSettings) -> TestSettings:
        """The configured settings with these thresholds."""
        most = self.max_detections or configured.max_detections
        return replace(configured, score_threshold=self.score_threshold, nms_iou=self.nms_iou, max_detections=most)

    def check(self) -> None:
        """UserError for values that are no thresholds."""
        if not 0 <= self.score_threshold < 1:
            raise UserError(f"--score_threshold is {self.score_threshold:g}; it lies between 0 and 1.")
        if not 0 < self.nms_iou <= 1:
            raise UserError(f"--nms_iou is {self.nms_iou:g}; it lies above 0, at most at 1.")
        if self.max_detections is not None and self.max_detections < 1:
            raise UserError(f"--max_detections is {self.max_detections}; at least 1 is needed.")


def tune_parser() -> argparse.ArgumentParser:
    """Flags of tools/tune.py."""
    parser = base_parser("tune.py", "Search score, NMS, mask and area thresholds on EvalDataset, for all classes and for each.")
    # A list of one, as `config_of` takes it.
    parser.add_argument("--metric", nargs=1, metavar="NAME", help="metric to raise (default: the configuration's)")
    parser.add_argument("--output", metavar="FILE", help=f"YAML to write (default: {TUNED_FILE} in the run's folder)")
    add_postprocess_flag(parser)
    predicting = Predicting()
    parser.add_argument("--score_threshold", type=float, default=predicting.score_threshold, metavar="SCORE",
                        help="lowest score of a candidate (%(default)s)")  # fmt: skip
    parser.add_argument("--nms_iou", type=float, default=predicting.nms_iou, metavar="IOU",
                        help="overlap above which candidates are not kept (%(default)s)")  # fmt: skip
    parser.add_argument("--max_detections", type=int, metavar="N", help="candidates of an image (default: the configuration's)")
    parser.add_argument(
        "--folds", type=int, default=Searching.folds, metavar="N", help="of the cross-fold check; 0: none (%(default)s)"
    )
    parser.add_argument("--min_instances", type=int, default=Searching.min_instances, metavar="N",
                        help="annotated objects that a class needs for thresholds of its own (%(default)s)")  # fmt: skip
    parser.add_argument("--min_gain", type=float, default=Searching.min_gain, metavar="GAIN",
                        help="of the metric, that a class's own threshold must bring (%(default)s)")  # fmt: skip
    parser.add_argument("--keep_per_class", action="store_true",
                        help="write thresholds of single classes though the cross-fold check speaks against them")  # fmt: skip
    parser.add_argument("--plot", metavar="PNG", help="draw the metric over each class's score threshold")
    return parser


def tune(
    cfg: Config,
    *,
    output: str | Path | None = None,
    predicting: Predicting = Predicting(),  # noqa: B008 (frozen)
    searching: Searching = Searching(),  # noqa: B008 (frozen)
    plot: str | Path | None = None,
    command: Sequence[str] = (),
) -> Tuned | None:
    """Search thresholds, log what they gain, write them; returns the outcome on rank 0.

    All ranks predict; rank 0 searches.

    Args:
        cfg: from `load_config`; its (first) `metric` is raised.
        output: YAML file; `tuned.yml` in the run's folder by default.
        predicting, searching: options.
        plot: PNG file for the score threshold's curves.
        command: words after the script's name, for the file.

    Raises:
        UserError: for what the user can mend.
    """
    predicting.check()
    searching.check()
    make_metric = _metric_of(cfg)
    target = Path(output) if output else run_folder(cfg) / TUNED_FILE
    outcome: Tuned | None = None
    with among_ranks(cfg.use_gpu, cfg.stall_timeout):
        on_rank_0(lambda: _check_files(target, plot), "looking at the files to write")
        settings = predicting.applied_to(settings_of(cfg))
        problem = _problem(cfg, settings, make_metric)

        def search() -> None:
            nonlocal outcome
            outcome, scorer, limits = _search(problem, settings, searching, cfg.worker_num)
            _write(target, problem, outcome, _sections(cfg, settings), command_line("tools/tune.py", command))
            if plot:
                _plot(Path(plot), scorer, outcome, problem, limits)

        on_rank_0(search, "searching thresholds")
    return outcome


def _check_files(target: Path, plot: str | Path | None) -> None:
    """UserError, before anything is predicted, where one of them could not be written."""
    demand_writable(target, "--output")
    if plot:
        demand_writable(Path(plot), "--plot")
        if Path(plot).resolve() == target.resolve():
            raise UserError(f"--plot and --output are the same file, {target}.")


def _metric_of(cfg: Config) -> Callable[[], CellMetric]:
    """Makes the metric. UserError, before anything is predicted, for options that do not exist, and without masks."""
    name = cfg.metric if isinstance(cfg.metric, str) else cfg.metric[0]
    make_metric = functools.partial(tuning_metric, name, dict(cfg.resolved.get(name) or {}))
    make_metric()
    if not architecture_of(cfg).has_masks(cfg):
        raise UserError("The model has no masks (HTCRoIHead.with_mask: false), whose thresholds are searched.")
    return make_metric


def _problem(cfg: Config, settings: TestSettings, make_metric: Callable[[], CellMetric]) -> Problem:
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
    model_steps = [
        {"BoxNMS": {"iou": start.nms_iou}},
        {"ScoreThreshold": {"score": start.score}},
        {"TopK": {"k": configured.max_detections}},
    ]
    setting, others = from_steps(start, steps, names, ids)
    found = candidates_of(cfg, dataset, settings) or []
    return Problem(
        make_metric, dataset.records, names, ids, found, setting, others, start.mask_threshold, model_steps, configured=steps
    )


def _search(problem: Problem, settings: TestSettings, searching: Searching, workers: int) -> tuple[Tuned, Scorer, Limits]:
    _check_found(problem.found, settings.score_threshold)
    limits = Limits(settings.score_threshold, settings.nms_iou, searching.min_instances, searching.min_gain)
    outcome, scorer = tune_candidates(
        problem,
        limits,
        folds=searching.folds,
        groups=_same_pictures(problem.records) if searching.folds else None,
        keep_per_class=searching.keep_per_class,
        workers=workers,
        tell=distributed.phase,
    )
    logger.info("%s", format_ladder(_name(scorer.metric), outcome))
    for warning in outcome.warnings:
        logger.warning("%s", warning)
    return outcome, scorer, limits


def _same_pictures(records: Sequence[Record]) -> np.ndarray:
    groups = same_bytes([record.file for record in records])
    copies = len(groups) - len(np.unique(groups))
    if copies:
        logger.info("%d of %d images are copies of others, byte by byte; they share a fold of the check", copies, len(groups))
    return groups


def _name(metric: CellMetric) -> str:
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


def _plot(path: Path, scorer: Scorer, outcome: Tuned, problem: Problem, limits: Limits) -> None:
    def write(aside: Path) -> None:
        count = draw_score_curves(aside, _name(scorer.metric), scorer, outcome.chosen.setting, problem.class_names, limits)
        logger.info("Wrote %s: %d classes", path, count)

    write_atomic(path, write, "--plot")


def run(args: argparse.Namespace, cfg: Config, argv: Sequence[str] | None) -> Tuned | None:
    """`tune` with the flags of `tune_parser`."""
    return tune(
        cfg,
        output=args.output,
        predicting=Predicting(args.score_threshold, args.nms_iou, args.max_detections),
        searching=Searching(args.folds, args.min_instances, args.min_gain, args.keep_per_class),
        plot=args.plot,
        command=sys.argv[1:] if argv is None else argv,
    )
