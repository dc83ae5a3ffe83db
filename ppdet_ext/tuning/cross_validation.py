"""Cross-fold check: would the thresholds found have helped on images they were not searched on?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ppdet_ext.data.splits.selection import fold_of
from ppdet_ext.distributed.forked import forked
from ppdet_ext.structures import Record

from .options import SearchBounds
from .scorer import Scorer
from .search import Search
from .setting import Setting


@dataclass(frozen=True)
class CrossValidation:
    """The metric over all images, each with thresholds searched without it; `per_class` starts from the global ones.

    settings: how many were scored.
    """

    folds: int
    global_value: float
    per_class_value: float
    settings: int


def assign_folds(records: Sequence[Record], folds: int, groups: np.ndarray | None = None, seed: int = 0) -> np.ndarray:
    """Fold (n,) of each image, by its name alone and so that folds get their share of each set of classes.

    Args:
        groups: (n,) any integers; images of one number stay together. None: each for itself.
    """
    own = range(len(records)) if groups is None else groups.tolist()
    names: dict[int, str] = {}
    strata: dict[int, frozenset[int]] = {}
    for record, group in zip(records, own):
        names[group] = min(names.get(group, record.name), record.name)
        strata[group] = strata.get(group, frozenset()) | set(record.labels.tolist())
    dealt = dict(zip(names, fold_of(list(names.values()), list(strata.values()), folds, seed).tolist()))
    return np.array([dealt[group] for group in own], np.int64)


def cross_validate(
    scorer: Scorer,
    start: Setting,
    bounds: SearchBounds,
    folds: np.ndarray,
    workers: int = 0,
    report_phase: Callable[[str], None] = lambda text: None,
) -> CrossValidation:
    """Search on all folds but one, for each fold.

    Args:
        scorer: of all images.
        start: of each search.
        bounds: of each search; `min_instances` counts those of all images.
        folds: (n,) from `assign_folds`.
        workers: processes, each with folds of its own; with fewer than two, this one does it.
        report_phase: called with what is going on.
    """
    count = int(folds.max()) + 1

    def tuned_without(fold: int) -> tuple[Setting, Setting, int]:
        report_phase(f"cross-fold check, fold {fold + 1} of {count}")
        before, scorer_workers = scorer.settings, scorer.workers
        if workers >= 2:
            scorer.workers = 0
        search = Search(scorer, bounds, np.flatnonzero(folds != fold).tolist(), report_phase)
        common = search.global_stages(start)[-1].setting
        own = search.per_class(common).setting
        scorer.workers = scorer_workers
        return common, own, scorer.settings - before

    # What the first search has cut is there for all of them after forking.
    tuned = forked(tuned_without, list(range(count)), workers)
    common = scorer.combined([tuned[fold][0] for fold in folds.tolist()])
    own = scorer.combined([tuned[fold][1] for fold in folds.tolist()])
    return CrossValidation(count, common, own, sum(settings for _, _, settings in tuned))
