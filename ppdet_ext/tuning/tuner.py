"""From candidates and annotations to thresholds, and what they are worth."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ppdet_ext.structures.probability_map import LEVELS

from .cross_validation import CrossValidation, assign_folds, cross_validate
from .options import SearchBounds
from .problem import Problem
from .scorer import Scorer
from .search import Search, SearchStage
from .setting import moved_steps

HOLDS = 0.25  # share of a gain in-sample that must be left on other folds, lest it be noise
logger = logging.getLogger("ppdet_ext")


@dataclass
class Tuned:
    """Outcome.

    Attributes:
        stages: the ablation; the last one is per class, where that was searched.
        chosen: the stage whose setting is to be used.
        cross: None where it was not asked for.
        before, after: the metric by the true pipeline with all steps, of the configuration as it stands and of `chosen`.
        rounding: how far `after` moves when all mask thresholds move by half a level of the stored probabilities.
        nothing: the metric where nothing is submitted.
        kept, candidates: how many remain with `chosen`, of how many.
        settings, seconds: how many were scored, in what time.
        unseen: names of the configured steps that the ablation and the check leave out.
        warnings: for the user.
    """

    stages: list[SearchStage]
    chosen: SearchStage
    cross: CrossValidation | None
    before: float
    after: float
    nothing: float
    rounding: float
    kept: int
    candidates: int
    settings: int = 0
    seconds: float = 0.0
    unseen: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    @property
    def usable(self) -> bool:
        """Whether anything speaks for the thresholds: they leave some object, and do not fail on other images."""
        return self.kept > 0 and not _fails_elsewhere(self.stages[0], self.common, self.cross)

    @property
    def common(self) -> SearchStage:
        """The best thresholds that are the same for all classes."""
        return self.stages[-2]


def tune_candidates(
    problem: Problem,
    bounds: SearchBounds,
    *,
    folds: int = 5,
    groups: np.ndarray | None = None,
    keep_per_class: bool = False,
    workers: int = 0,
    report_phase: Callable[[str], None] = lambda text: None,
) -> tuple[Tuned, Scorer]:
    """Search, check on folds, and choose.

    Args:
        problem: what is tuned.
        bounds: of the search.
        folds: of the cross-fold check; fewer where there are fewer images, none below 2.
        groups: (n,) any integers; images of one number, which are the same picture, are in the same fold.
        keep_per_class: take thresholds of single classes although they do not hold up on other folds.
        workers: processes; with fewer than two, this one does it all.
        report_phase: called with what is going on, now and then.
    """
    began = time.perf_counter()
    scorer = problem.scorer(workers)
    report_phase("cutting masks")
    search = Search(scorer, bounds, report_phase=report_phase)
    stages = search.global_stages(problem.start)
    stages.append(search.per_class(stages[-1].setting))
    settings, cross = scorer.settings, _checked(problem, scorer, bounds, folds, groups, workers, report_phase)
    chosen, warnings = _choose(stages, cross, bounds, keep_per_class)
    report_phase("running the steps as they will be")
    outcome = _outcome(problem, scorer, stages, chosen, cross)
    outcome.warnings += [*warnings, *_moves(problem), *_doubts(problem, outcome)]
    outcome.settings = settings + (cross.settings if cross else 0)
    outcome.seconds = time.perf_counter() - began
    return outcome, scorer


def _checked(
    problem: Problem,
    scorer: Scorer,
    bounds: SearchBounds,
    folds: int,
    groups: np.ndarray | None,
    workers: int,
    report_phase: Callable[[str], None],
) -> CrossValidation | None:
    """The check on at most that many folds; None where there would be fewer than two."""
    folds = min(folds, len(problem.records) if groups is None else len(np.unique(groups)))
    if folds < 2:
        return None
    assigned = assign_folds(problem.records, folds, groups)
    return cross_validate(scorer, problem.start, bounds, assigned, workers, report_phase)


def _outcome(
    problem: Problem, scorer: Scorer, stages: list[SearchStage], chosen: SearchStage, cross: CrossValidation | None
) -> Tuned:
    """What the steps give as they will run, beside what the search found."""
    before, after = problem.value_as_configured(), problem.value(chosen.setting)
    moved = [problem.value(chosen.setting.with_added("mask_threshold", sign * 0.5 / LEVELS)) for sign in (-1, 1)]
    return Tuned(
        stages=stages,
        chosen=chosen,
        cross=cross,
        before=before,
        after=after,
        nothing=scorer.value_of_nothing(),
        rounding=max(abs(value - after) for value in moved),
        kept=scorer.kept(chosen.setting),
        candidates=sum(len(one) for one in problem.candidates),
        unseen=[next(iter(entry)) for entry in problem.others],
    )


def _choose(
    stages: list[SearchStage], cross: CrossValidation | None, bounds: SearchBounds, keep: bool
) -> tuple[SearchStage, list[str]]:
    first, common, own = stages[0], stages[-2], stages[-1]
    if own.value <= common.value:
        return common, _global_doubt(first, common, cross)
    if cross is None:
        return own, ["Nothing tells whether the thresholds hold up on other images: there was no cross-fold check."]
    warnings = _global_doubt(first, common, cross)
    if cross.per_class_value - cross.global_value > max(bounds.min_gain, HOLDS * (own.value - common.value)):
        return own, warnings
    text = (
        f"Thresholds per class gain {own.value - common.value:+.4f} on the images they were searched on, but "
        f"{cross.per_class_value - cross.global_value:+.4f} on others (cross-validated): "
    )
    if keep:
        return own, [*warnings, f"{text}they are written all the same (--keep_per_class)."]
    return common, [*warnings, f"{text}the global ones are written (--keep_per_class writes them all the same)."]


def _fails_elsewhere(first: SearchStage, common: SearchStage, cross: CrossValidation | None) -> bool:
    """Whether the global thresholds gain something on the images that they were searched on, and nothing on others."""
    return cross is not None and cross.global_value <= first.value < common.value


def _global_doubt(first: SearchStage, common: SearchStage, cross: CrossValidation | None) -> list[str]:
    if not _fails_elsewhere(first, common, cross):
        return []
    assert cross is not None
    return [
        f"Even the global thresholds gain {common.value - first.value:+.4f} only on the images they were searched on; "
        f"cross-validated it is {cross.global_value - first.value:+.4f}. They are written all the same. Do not use the file: "
        "hold out more images (tools/split.py --holdout) and tune again, or predict and submit without --postprocess."
    ]


def _moves(problem: Problem) -> list[str]:
    return [
        f"The configuration has {kind} after {' and '.join(passed)}; the search applies it before, and so does what is "
        "written. The number as configured is that of the configuration's own order."
        for kind, passed in moved_steps(problem.configured or [])
    ]


def _doubts(problem: Problem, outcome: Tuned) -> list[str]:
    warnings, before, after = [], outcome.before, outcome.after
    if not outcome.kept:
        warnings.append(
            "The best thresholds leave nothing in any image: the metric rewards empty predictions more than this model's. "
            "Do not use the file: train longer, or tune on images with more objects."
        )
    names = ", ".join(next(iter(entry)) for entry in problem.others)
    if problem.others and after < before:
        warnings.append(
            f"With the configuration's other steps ({names}) the metric falls from {before:.4f} to {after:.4f}; "
            "the search does not see them. Leave them out (-o PostProcess=[]) and compare."
        )
    if not problem.others and abs(after - outcome.chosen.value) > 1e-9:
        warnings.append(f"The steps give {after!r} where the search found {outcome.chosen.value!r}; please report this.")
    return warnings
