"""Recall and AP by what objects are like: size, shape, place, company."""

from __future__ import annotations

import numpy as np

from .precision import ap_of_part, mean_of
from .schema_objects import Axis, Bin, Breakdown
from .tables import Tables

PARTS, ROWS, COLUMNS = 5, 9, 16
AXES = {
    "area": ("Area", "px"),
    "aspect": ("Longer side / shorter side", ""),
    "border": ("Distance to the nearest border", "px"),
    "crowding": ("Objects in the image", ""),
}


def breakdown(tables: Tables, score: float) -> Breakdown:
    """By quantiles of the data set's own objects, and where on the image they are missed."""
    truths = tables.truths
    missed = tables.matched.finder(len(truths.image), tables.found.score, score) < 0
    single = ~truths.crowd
    company = np.bincount(truths.image[single], minlength=len(tables.records)).astype(np.float64)
    sizes = np.array([(one.width, one.height) for one in tables.records], np.float64).reshape(-1, 2)
    axes = []
    for key, (title, unit) in AXES.items():
        values = [
            _values(key, one.box, one.area, sizes[one.image], company[one.image]) for one in (tables.truths, tables.found)
        ]
        axes.append(Axis(key, title, unit, _bins(tables, values[0], values[1], missed)))
    return Breakdown(axes, _places(tables, sizes, single).tolist(), _places(tables, sizes, single & missed).tolist())


def _values(key: str, box: np.ndarray, area: np.ndarray, size: np.ndarray, company: np.ndarray) -> np.ndarray:
    """(n,) of objects: boxes (n, 4), areas (n,), width and height (n, 2) of their images, number of objects there (n,)."""
    if key == "area":
        return area
    if key == "crowding":
        return company
    if key == "border":
        return np.maximum(np.minimum(box[:, :2], size - box[:, 2:]).min(axis=1, initial=np.inf), 0)
    sides = np.maximum(box[:, 2:] - box[:, :2], 1e-6)
    return sides.max(axis=1, initial=0) / sides.min(axis=1, initial=np.inf)


def _bins(tables: Tables, truths: np.ndarray, found: np.ndarray, missed: np.ndarray) -> list[Bin]:
    single = ~tables.truths.crowd
    if not single.any():
        return []
    # Edges are values that occur, so that what is equal stays together.
    edges = np.unique(np.quantile(truths[single], np.arange(PARTS + 1) / PARTS, method="inverted_cdf"))
    bounds = [(edges[0], edges[0])] if len(edges) == 1 else list(zip(edges[:-1], edges[1:]))
    bins = []
    for place, (low, high) in enumerate(bounds):
        inside = [(values <= high) & ((values >= low) if place == 0 else (values > low)) for values in (truths, found)]
        own = inside[0] & single
        parts = ap_of_part(tables, inside[0], inside[1])
        bins.append(
            Bin(
                float(low),
                float(high),
                int(own.sum()),
                float(1 - missed[own].mean()) if own.any() else None,
                mean_of([one.ap for one in parts]),
                mean_of([one.ap50 for one in parts]),
            )
        )
    return bins


def _places(tables: Tables, sizes: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """(ROWS, COLUMNS) how many of the chosen objects have their box's centre there."""
    box, size = tables.truths.box[chosen], sizes[tables.truths.image[chosen]]
    share = (box[:, :2] + box[:, 2:]) / 2 / np.maximum(size, 1)
    column, row = (np.clip((share * (COLUMNS, ROWS)).astype(np.int64), 0, (COLUMNS - 1, ROWS - 1))).T
    grid = np.zeros((ROWS, COLUMNS), np.int64)
    np.add.at(grid, (row, column), 1)
    return grid
