"""Whether a score of .8 means that eight of ten are right."""

from __future__ import annotations

import numpy as np

from .schema_objects import Calibration, CalibrationBin
from .tables import Tables

BINS, HISTOGRAM = 10, 20
ENOUGH = 10  # detections of a bin that says anything


def calibration(tables: Tables) -> Calibration:
    """Of all detections that COCO counts and that are right or wrong."""
    matched, found = tables.matched, tables.found
    counts = matched.right | matched.wrong
    score, right = np.clip(found.score[counts], 0, 1), matched.right[counts]
    bins, parts = _bins(score, right)
    edges = np.round(np.linspace(0, 1, HISTOGRAM + 1), 2)
    by_class = []
    for label in range(tables.classes):
        own = found.label[counts] == label
        by_class.append(float(_bins(score[own], right[own])[1].sum()) if own.any() else None)
    return Calibration(
        bins=bins,
        ece=float(parts.sum()) if len(score) else None,
        worst=_worst(bins),
        edges=edges.tolist(),
        right=np.histogram(score[right], edges)[0].tolist(),
        wrong=np.histogram(score[~right], edges)[0].tolist(),
        by_class=by_class,
    )


def _bins(score: np.ndarray, right: np.ndarray) -> tuple[list[CalibrationBin], np.ndarray]:
    """The bins, and what each adds to the error."""
    place = np.minimum((score * BINS).astype(np.int64), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    some = np.maximum(count, 1)
    confidence = np.bincount(place, score, minlength=BINS) / some
    accuracy = np.bincount(place, right, minlength=BINS) / some
    parts = np.abs(accuracy - confidence) * count / max(len(score), 1)
    bins = [
        CalibrationBin(
            i / BINS,
            (i + 1) / BINS,
            int(count[i]),
            float(confidence[i]) if count[i] else None,
            float(accuracy[i]) if count[i] else None,
        )
        for i in range(BINS)
    ]
    return bins, parts


def _worst(bins: list[CalibrationBin]) -> int | None:
    """The bin of enough detections whose accuracy is furthest from its confidence; None where there is none."""
    gaps = [abs((one.accuracy or 0.0) - (one.confidence or 0.0)) if one.count >= ENOUGH else -1.0 for one in bins]
    return gaps.index(max(gaps)) if max(gaps) >= 0 else None
