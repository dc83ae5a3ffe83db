"""How well the masks of matched detections are drawn."""

from __future__ import annotations

import numpy as np

from ppdet_ext.evaluation.boundary_iou import boundary, boundary_width
from ppdet_ext.structures import Rle

from .pairs import MASKS
from .schema_objects import Histogram, Quality, QualityRow
from .tables import Tables

SAMPLE = 2000  # matches whose boundaries, holes and parts are looked at, which decodes pixels
DILATION = 0.02
SHRUNKEN, GROWN = 0.8, 1.25
_IOU_EDGES = np.round(np.linspace(0.5, 1, 21), 3)
_BOUNDARY_EDGES = np.round(np.linspace(0, 1, 21), 2)
_RATIO_EDGES = np.array([0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1, 1.05, 1.1, 1.2, 1.25, 1.4, 1.6, 2])


def quality(tables: Tables, score: float) -> Quality | None:
    """Of detections that are right at the score; None of boxes without masks."""
    if tables.primary != MASKS:
        return None
    matched, found, truths = tables.matched, tables.found, tables.truths
    rows = np.flatnonzero(matched.right & (found.score >= score))
    partner = matched.taken[0, rows]
    iou, label = matched.iou_of_taken()[rows], found.label[rows]
    ratio = found.area[rows] / np.maximum(truths.area[partner], 1)
    # Every n-th, the same each time.
    sample = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), SAMPLE)).astype(np.int64)) if len(rows) else rows
    masks = [_masks(tables, int(rows[i]), int(partner[i])) for i in sample]
    rings = np.array([_boundary_iou(*one) for one in masks])
    labels: list[int | None] = [None, *np.unique(label).tolist()]
    return Quality(
        matches=len(rows),
        sampled=len(sample),
        iou=_histogram(iou, _IOU_EDGES),
        boundary_iou=_histogram(rings, _BOUNDARY_EDGES),
        area_ratio=_histogram(ratio, _RATIO_EDGES),
        rows=[_row(one, iou, ratio, rings, label, label[sample]) for one in labels],
        truth_holes=sum(truth.holes for truth, _ in masks),
        found_holes=sum(own.holes for _, own in masks),
        truth_parts=sum(len(truth.components()) for truth, _ in masks),
        found_parts=sum(len(own.components()) for _, own in masks),
        shrunken=float((ratio < SHRUNKEN).mean()) if len(rows) else None,
        grown=float((ratio > GROWN).mean()) if len(rows) else None,
    )


def _masks(tables: Tables, row: int, partner: int) -> tuple[Rle, Rle]:
    """(annotated, found)."""
    image = int(tables.found.image[row])
    own = (tables.detections[image].masks or [])[int(tables.found.place[row])]
    return tables.records[image].masks[int(tables.truths.place[partner])], own


def _boundary_iou(truth: Rle, own: Rle) -> float:
    width = boundary_width(truth.height, truth.width, DILATION)
    return boundary(truth, width).iou(boundary(own, width))


def _histogram(values: np.ndarray, edges: np.ndarray) -> Histogram:
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    return Histogram(edges.tolist(), counts.tolist())


def _row(
    label: int | None, iou: np.ndarray, ratio: np.ndarray, rings: np.ndarray, labels: np.ndarray, sampled: np.ndarray
) -> QualityRow:
    own, ringed = (slice(None), slice(None)) if label is None else (labels == label, sampled == label)

    def mean(values: np.ndarray) -> float | None:
        return float(values.mean()) if len(values) else None

    middle = float(np.median(ratio[own])) if len(ratio[own]) else None
    return QualityRow(label, len(iou[own]), mean(iou[own]), mean(rings[ringed]), middle)
