"""Searching thresholds: tools/tune.py's scorer against running steps and metric anew for each setting.

    python benchmarks/bench_tune.py
    python benchmarks/bench_tune.py --first 500    # only so many settings, with all that must be done before them

Candidates are drawn: 450 images of 1000 x 750 px with 10 objects and 60 candidates of 46 classes, iMaterialist's metric at
512 x 512 px. Ours is the whole search with its cross-fold check; the peer scores a few of the settings that the search goes
through by `PostProcess` and the metric, and its time for all of them is extrapolated. Both give equal numbers, which is
checked. At the end: what storing probabilities as 1/255 changes.
"""

import argparse
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "support"))

from tuning_cases import Drawn, names_of

from ppdet_ext.evaluation import tuning_metric
from ppdet_ext.inference.candidate_file import quantised, restored
from ppdet_ext.structures.candidates import Candidates
from ppdet_ext.tuning.options import SearchBounds
from ppdet_ext.tuning.problem import Problem, pipeline_value
from ppdet_ext.tuning.report import format_ablation
from ppdet_ext.tuning.search import Search
from ppdet_ext.tuning.setting import Setting, Thresholds
from ppdet_ext.tuning.tuner import tune_candidates

CLASSES = 46


def parse_args() -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--images", type=int, default=450)
    parser.add_argument("--metric", default="IMaterialistMAP")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--peer", type=int, default=3, help="settings that the peer scores")
    parser.add_argument("--first", type=int, help="stop ours after so many settings of the search on all images")
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    drawn = Drawn(args.images, 750, 1000, CLASSES, 10, 60, right=(0.2, 1.0), wrong=(0.01, 0.6), outline=0.42)
    records, exact = drawn.draw()
    names, ids = names_of(CLASSES)
    found = [quantised(one) for one in exact]
    start = Setting.uniform(CLASSES, Thresholds(0.01, 0.5, 0.5, 0))
    problem = Problem(lambda: tuning_metric(args.metric), records, names, ids, found, start)
    print(f"{args.images} images, {sum(map(len, found))} candidates, {sum(len(r.labels) for r in records)} objects")
    if args.first:
        first(problem, args)
    else:
        whole(problem, exact, args)


def first(problem: Problem, args: argparse.Namespace) -> None:
    """Seconds from nothing but candidates and annotations to the value of so many settings, beside the peer's."""
    load, began = os.getloadavg()[0], time.perf_counter()
    scorer = problem.scorer(args.workers)
    counted, at = scorer.value, []
    best = problem.start

    def counting(setting: Setting, images: list[int] | None = None) -> float:
        if len(at) == args.first:
            raise Enough
        number = counted(setting, images)
        at.append(time.perf_counter() - began)
        return number

    scorer.value = counting
    search = Search(scorer, SearchBounds(0.01, 0.65))
    try:
        best = search.global_stages(best)[-1].setting
        search.per_class(best)
    except Enough:
        pass
    scorer.value = counted
    print(f"first {len(at)} settings: {at[-1]:.1f} s, of which {at[0]:.1f} s until the first one; {args.workers} processes")
    seconds = peer(problem, best, scorer, args.peer)
    theirs = seconds * len(at)
    print(f"peer: {seconds:.1f} s a setting, {theirs / 60:.0f} min for as many: {theirs / at[-1]:.0f} times ours")
    print(f"load average {load:.1f} before, {os.getloadavg()[0]:.1f} after")


class Enough(Exception):
    """So many settings are scored."""


def whole(problem: Problem, exact: list[Candidates], args: argparse.Namespace) -> None:
    """The whole search and its check."""
    records, names, ids = problem.records, problem.class_names, problem.category_ids
    found = problem.candidates
    spent = -sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    outcome, scorer = tune_candidates(problem, SearchBounds(0.01, 0.65), folds=args.folds, workers=args.workers)
    spent += sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(format_ablation(args.metric, outcome))
    print(f"CPU time {spent:.0f} s; {outcome.settings / outcome.seconds:.1f} settings/s")
    memory = (resource.getrusage(who).ru_maxrss / 1024 for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print("peak memory {:.0f} MiB, of a worker {:.0f} MiB".format(*memory))

    seconds = peer(problem, outcome.chosen.setting, scorer, args.peer)
    every = seconds * outcome.settings
    print(f"peer: {seconds:.1f} s a setting, {every / 3600:.1f} h for all of them: {every / outcome.seconds:.0f} times ours")
    steps = outcome.chosen.setting.steps(names, ids)
    values = [pipeline_value(tuning_metric(args.metric), records, names, ids, one, steps, 0.5) for one in
              (exact, [restored(one) for one in found])]  # fmt: skip
    print(f"exact probabilities {values[0]:.6f}, stored as 1/255 {values[1]:.6f}: {values[1] - values[0]:+.1e}")


def peer(problem: Problem, setting: Setting, scorer: object, count: int) -> float:
    """Seconds of steps and metric for a setting on average; AssertionError where the scorer's value differs."""
    settings = [setting.moved("score", score) for score in np.linspace(0.1, 0.5, count).round(2).tolist()]
    began = time.perf_counter()
    values = [problem.value(one) for one in settings]
    seconds = (time.perf_counter() - began) / count
    for one, value in zip(settings, values):
        assert abs(scorer.value(one) - value) < 1e-9, (scorer.value(one), value)
    return seconds


if __name__ == "__main__":
    main()
