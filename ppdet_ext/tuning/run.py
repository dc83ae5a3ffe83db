"""A search from end to end: what is searched, checked before anything is predicted; the search, said; its files."""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext import distributed
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.data.splits.duplicates import same_bytes
from ppdet_ext.errors import UserError
from ppdet_ext.evaluation.metric import PartialMetric
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.structures import Candidates, Record, TestSettings

from .options import SearchBounds, Searching
from .plot import draw_score_curves
from .problem import Problem
from .report import command_line, format_ablation, tuned_yaml
from .scorer import Scorer
from .setting import Searched, Thresholds, from_steps, split_first
from .tuner import Tuned, tune_candidates

logger = logging.getLogger("ppdet_ext")


def make_problem(
    dataset: Any,
    make_metric: Callable[[], PartialMetric],
    configured: TestSettings,
    loose: TestSettings,
    steps: Sequence[Mapping[str, Any]],
    predict: Callable[[], Sequence[Candidates] | None],
    reading: Reading = AS_SHOWN,
) -> Problem:
    """What is to be searched, with candidates on rank 0.

    Args:
        dataset: read, with annotations.
        make_metric: a new metric.
        configured: settings of the model.
        loose: those that candidates are predicted with.
        steps: configured entries of `PostProcess`.
        predict: gives quantised candidates of the data set's images, None beside rank 0; called when all else is right.
        reading: how pictures that steps ask for are read.

    Raises:
        UserError: a data set or steps that cannot be searched.
    """
    _check_truth(dataset)
    make_metric().start_on(dataset)
    names, ids = list(dataset.class_names), list(dataset.category_ids)
    score = max(configured.score_threshold, loose.score_threshold)
    start = Thresholds(score, configured.nms_iou, float(configured.mask_threshold), 0)
    setting, others = from_steps(start, steps, names, ids)
    first, rest = split_first(others)
    found, cut = predict() or [], start.mask_threshold
    maps = any(one.maps is not None for one in found)
    # What the model does by itself, said in steps.
    model_steps: list[Mapping[str, Any]] = [{"ScoreThreshold": {"score": start.score}}]
    if not maps:
        model_steps = [{"BoxNMS": {"iou": start.nms_iou}}, *model_steps, {"TopK": {"k": configured.max_detections}}]
    searched = Searched.of(steps, maps)
    own = model_steps, steps, first, searched, reading
    return Problem(make_metric, dataset.records, names, ids, found, setting, rest, cut, *own)


def search_problem(
    problem: Problem, loose: TestSettings, searching: Searching, workers: int
) -> tuple[Tuned, Scorer, SearchBounds]:
    """Search, and log the table of gains and the warnings. Raises: UserError where the model has found nothing."""
    _check_found(problem.candidates, loose.score_threshold)
    bounds = SearchBounds(loose.score_threshold, loose.nms_iou, searching.min_instances, searching.min_gain)
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


def write_tuned(
    target: Path, problem: Problem, outcome: Tuned, sections: Mapping[str, Any], words: Sequence[str], tool: str
) -> None:
    """Write the YAML for --postprocess; see `tuned_yaml`. Raises: UserError when that fails."""
    command = command_line(tool, words)
    text = tuned_yaml(_name(problem.make_metric()), outcome, problem, sections, command, tool)
    write_atomic(target, lambda aside: aside.write_text(text, encoding="utf-8"), "--output")


def write_plot(path: Path, scorer: Scorer, outcome: Tuned, problem: Problem, bounds: SearchBounds) -> None:
    """Draw the metric over each class's score threshold. Raises: UserError when that fails."""

    def write(aside: Path) -> None:
        count = draw_score_curves(aside, _name(scorer.metric), scorer, outcome.chosen.setting, problem.class_names, bounds)
        logger.info("Wrote %s: %d classes", path, count)

    write_atomic(path, write, "--plot")


def _name(metric: PartialMetric) -> str:
    """COCO is tuned by another one."""
    return type(metric).__name__


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
