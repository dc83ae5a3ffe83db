"""Whether another run is better, or the images happened to be kind to it: a paired bootstrap over images.

Each draw takes as many images as there are, with replacement, and computes both runs' AP on the same ones (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13): the interval holds 95 % of the differences.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ppdet_ext.evaluation.coco_mask_ap import RECALLS, RIGHT, THRESHOLDS, WRONG

from .precision import class_precisions, mean_of
from .schema import ComparedRun, Comparison, Difference
from .tables import Tables

MOST, LEAST = 1000, 200
_WORK = 2e8  # detections · thresholds · draws
_CHUNK = 1 << 21  # cells at a time
PERCENTILES = (2.5, 97.5)
Numbers = dict[str, dict[str, float | None]]


def compare(tables: Tables, others: Mapping[str, tuple[Tables, Numbers]], seed: int = 0) -> Comparison:
    """Other runs' tables and COCO numbers, by name, against those of the report."""
    objects = max([len(tables.found.score), *(len(other.found.score) for other, _ in others.values())])
    samples = int(np.clip(_WORK / max(objects * len(THRESHOLDS), 1), LEAST, MOST))
    own = class_precisions(tables)
    weights = _weights(len(tables.records), samples, seed)
    drawn = bootstrap_ap(tables, weights)
    runs = []
    for name, (other, numbers) in others.items():
        theirs = class_precisions(other, tables.primary)
        differences = bootstrap_ap(other, weights, tables.primary) - drawn
        values = [mean_of([one.ap for one in theirs]), *(one.ap for one in theirs)]
        before = [mean_of([one.ap for one in own]), *(one.ap for one in own)]
        with np.errstate(invalid="ignore"):
            mean = _mean_of_classes(differences)
        columns = [mean, *differences.T]
        rows = [
            _difference(None if k == 0 else k - 1, value, was, column)
            for k, (value, was, column) in enumerate(zip(values, before, columns))
        ]
        runs.append(ComparedRun(name, numbers, rows, _verdict(name, tables.primary, rows[0])))
    return Comparison(tables.primary, samples, seed, runs)


def _weights(images: int, samples: int, seed: int) -> np.ndarray:
    """(samples, images) how often each image is drawn."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(images, np.full(images, 1 / max(images, 1)), samples) if images else np.zeros((samples, 0), np.int64)


def bootstrap_ap(tables: Tables, weights: np.ndarray, kind: str | None = None) -> np.ndarray:
    """AP (samples, classes) with each image counted as often as `weights` (samples, images) say; NaN without instances."""
    matched = tables.kinds[kind or tables.primary]
    verdicts, counted = matched.verdicts, matched.counted
    single = ~tables.truths.crowd
    ap = np.full((len(weights), tables.classes), np.nan)
    for label in range(tables.classes):
        there = np.bincount(tables.truths.image[single & (tables.truths.label == label)], minlength=len(tables.records))
        instances = weights @ there
        if not instances.any():
            continue
        own = np.flatnonzero(counted & (tables.found.label == label))
        own = own[np.argsort(-tables.found.score[own], kind="stable")]
        step = max(1, _CHUNK // max(len(own), 1))
        for start in range(0, len(weights), step):
            part = slice(start, start + step)
            ap[part, label] = _weighted_ap(verdicts[:, own], weights[part][:, tables.found.image[own]], instances[part])
    return ap


def _weighted_ap(verdicts: np.ndarray, weights: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """(samples,) AP of one class. verdicts (10, n) by falling score, weights (samples, n), instances (samples,)."""
    samples, n = weights.shape
    total = np.zeros(samples)
    needed = _needed(instances)
    # Each row's counts lie above those of the row before, so that one search does for all rows.
    offset = np.arange(samples)[:, None] * (int(instances.max(initial=0)) + 2)
    for verdict in verdicts:
        right, wrong = (np.cumsum(weights * (verdict == kind), axis=1) for kind in (RIGHT, WRONG))
        precision = right / np.maximum(right + wrong, 1)
        precision = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
        padded = np.concatenate([precision, np.zeros((samples, 1))], axis=1)
        places = np.searchsorted((right + offset).ravel(), (needed + offset).ravel()).reshape(needed.shape)
        places = np.minimum(places - np.arange(samples)[:, None] * n, n)
        total += np.take_along_axis(padded, places, axis=1).mean(axis=1)
    return np.where(instances > 0, total / len(verdicts), np.nan)


def _needed(instances: np.ndarray) -> np.ndarray:
    """(samples, 101) how many must be found for each of `RECALLS`, as `np.searchsorted(found / instances, RECALLS)` decides."""
    some = np.maximum(instances, 1)[:, None]
    count = np.ceil(RECALLS * some).astype(np.int64)
    count = np.where((count - 1) / some >= RECALLS, count - 1, count)
    return np.maximum(np.where(count / some < RECALLS, count + 1, count), 0)


def _mean_of_classes(values: np.ndarray) -> np.ndarray:
    """(samples,) over the classes that a draw has; NaN for none."""
    there = ~np.isnan(values)
    return np.where(there.any(axis=1), np.nansum(values, axis=1) / np.maximum(there.sum(axis=1), 1), np.nan)


def _difference(label: int | None, value: float | None, before: float | None, drawn: np.ndarray) -> Difference:
    if value is None or before is None:
        return Difference(label, value, None, None, None, False)
    drawn = drawn[~np.isnan(drawn)]
    if not len(drawn):
        return Difference(label, value, value - before, None, None, False)
    low, high = (float(one) for one in np.percentile(drawn, PERCENTILES))
    return Difference(label, value, value - before, low, high, low > 0 or high < 0)


def _verdict(name: str, kind: str, row: Difference) -> str:
    what = "mask AP" if kind == "segm" else "box AP"
    if row.difference is None or row.low is None or row.high is None:
        return f"{name}: nothing to compare, for nothing is annotated."
    if math.isclose(row.difference, 0, abs_tol=5e-4) and not row.real:
        return f"{name} is as good in {what}: the 95 % interval of the difference is {row.low:+.3f} to {row.high:+.3f}."
    better = "better" if row.difference > 0 else "worse"
    end = "holds on other images like these" if row.real else "may be chance"
    text = f"{name} is {abs(row.difference):.3f} {better} in {what} (95 % interval {row.low:+.3f} to {row.high:+.3f})"
    return f"{text}, which {end}."
