"""Anchors that fit the shapes of a data set's objects: which boxes they reach, and which ratios are worth adding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STRIDES = (4, 8, 16, 32, 64)
USUAL_RATIOS = (0.5, 1.0, 2.0)
USUAL_SCALE = 8.0
SCALES = (8.0, 6.0, 4.0, 3.0, 2.0)
# Heights over widths that may be added: a factor of the square root of 2 apart; a shape between two overlaps either by 0.84.
RATIOS = tuple(round(2.0 ** (step / 2), 3) for step in range(-10, 11))
REACHED = 0.5
# What another ratio, another scale must win to be worth it: a share of all boxes, and a number of them.
GAIN, GAIN_BOXES = 0.01, 3
MOST_RATIOS = 9


@dataclass(frozen=True)
class Anchors:
    """Anchors, and the share of the boxes that overlap one by an IoU of `REACHED` or more.

    ratios: heights over widths. scale: side of an anchor in strides. inside_only: whether anchors over the edge are left out.
    reached: in [0, 1]. usual: the same of the usual ratios and scale.
    """

    ratios: tuple[float, ...]
    scale: float
    inside_only: bool
    reached: float
    usual: float


def best_overlaps(boxes: np.ndarray, sizes: np.ndarray, ratios: Sequence[float], scale: float, inside_only: bool) -> np.ndarray:
    """(m, ratios) float64: of each box the IoU with the best anchor of each ratio, at any place and level.

    An anchor of given sides overlaps a box the more, the nearer their centres are; so the nearest of a level's cells is asked.

    Args:
        boxes: (m, 4) float64, x1 y1 x2 y2 in pixels of the resized image.
        sizes: (m, 2) float64 height and width of the resized image of each.
        inside_only: only anchors that lie within the image.
    """
    best = np.zeros((len(boxes), len(ratios)))
    low, high = boxes[:, :2], boxes[:, 2:]
    centre, limit = (low + high) / 2, sizes[:, ::-1]
    for stride in STRIDES:
        for column, ratio in enumerate(ratios):
            half = scale * stride / np.sqrt([ratio, 1 / ratio]) / 2
            first = np.ceil(half / stride) if inside_only else np.zeros(2)
            last = np.floor((limit - half) / stride) if inside_only else np.ceil(limit / stride) - 1
            cell = np.clip(np.rint(centre / stride), first, last)
            overlap = _iou(low, high, cell * stride - half, cell * stride + half)
            # Larger than the image, it fits nowhere.
            overlap[(last < first).any(axis=1)] = 0
            best[:, column] = np.maximum(best[:, column], overlap)
    return best


def _iou(low: np.ndarray, high: np.ndarray, other_low: np.ndarray, other_high: np.ndarray) -> np.ndarray:
    """IoU of boxes pair by pair, (m,), from their corners (m, 2)."""
    common = np.clip(np.minimum(high, other_high) - np.maximum(low, other_low), 0, None).prod(axis=1)
    return common / ((high - low).prod(axis=1) + (other_high - other_low).prod(axis=1) - common)


def choose_anchors(boxes: np.ndarray, sizes: np.ndarray, inside_only: bool = True) -> Anchors:
    """The usual ratios and those beside them that reach more of the boxes, the scale, and whether anchors over the edge help.

    Each further step must reach a hundredth of the boxes more, and three; arguments as of `best_overlaps`.

    inside_only: what the model does by itself; where it lets anchors over the edge learn, that stays.
    """
    usual = _share(best_overlaps(boxes, sizes, USUAL_RATIOS, USUAL_SCALE, inside_only))
    found: Anchors | None = None
    for inside in (True, False) if inside_only else (False,):
        for scale in SCALES:
            ratios, reached = _with_more_ratios(best_overlaps(boxes, sizes, RATIOS, scale, inside))
            if found is None or reached >= found.reached + _worthwhile(len(boxes)):
                found = Anchors(ratios, scale, inside, reached, usual)
    assert found is not None
    return found


def _with_more_ratios(overlaps: np.ndarray) -> tuple[tuple[float, ...], float]:
    """The usual ratios with those that reach the most boxes that none has reached yet; and the share reached by all."""
    chosen = [RATIOS.index(ratio) for ratio in USUAL_RATIOS]
    hit = overlaps >= REACHED
    while len(chosen) < MOST_RATIOS:
        open_ones = ~hit[:, chosen].any(axis=1)
        gains = hit[open_ones].sum(axis=0) / len(hit)
        if gains.max() < _worthwhile(len(hit)):
            break
        chosen.append(int(gains.argmax()))
    return tuple(sorted(RATIOS[i] for i in chosen)), _share(overlaps[:, chosen])


def _worthwhile(boxes: int) -> float:
    return max(GAIN, GAIN_BOXES / boxes)


def _share(overlaps: np.ndarray) -> float:
    return float((overlaps.max(axis=1) >= REACHED).mean())
