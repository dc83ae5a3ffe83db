"""What the page is told, ready for JSON: short columns of all pictures, and everything of a few."""

from __future__ import annotations

import base64
import functools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ppdet_ext.pages.outlines import path_of
from ppdet_ext.structures import Rle
from ppdet_ext.structures.measurements import measure

from .catalogue import Item
from .decisions import Decisions, object_key

NOT_COMPARED = 3  # as `matching.RIGHT`: of a detection that nobody has compared with annotations


def columns(items: Sequence[Item], decisions: Decisions) -> dict[str, Any]:
    """Columns of pictures, of their detections and of their annotations, numbers as base64 of little-endian arrays.

    Scores are float32 as the model gave them, so that the page compares with a threshold as Python does.
    """
    predicted = [item.found for item in items if item.found is not None]
    annotated = [item.truth for item in items if item.truth is not None]
    scores = [np.zeros(0) if item.found is None else item.found.scores for item in items]
    return {
        "number": [item.number for item in items],
        "name": [item.name.encode(errors="replace").decode() for item in items],
        "height": [item.height for item in items],
        "width": [item.width for item in items],
        "part": [item.part for item in items],
        "state": [item.state for item in items],
        "annotated": [item.truth is not None for item in items],
        "predicted": [item.found is not None for item in items],
        "decided": [decisions.counts(item.name) for item in items],
        "found": {
            "count": _packed(np.array([len(own) for own in scores]), "<u4"),
            "score": _packed(_joined(scores), "<f4"),
            "label": _packed(_joined([own.labels for own in predicted]), "<u2"),
            "area": _packed(_joined([_areas(own.masks, own.boxes) for own in predicted]), "<u4"),
            "hit": _packed(_joined([_hits(item) for item in items]), "u1"),
        },
        "truth": {
            "count": _packed(np.array([len(item.truth_labels) for item in items]), "<u4"),
            "label": _packed(_joined([item.truth_labels for item in items]), "<u2"),
            "area": _packed(_joined([_areas(own.masks, own.boxes) for own in annotated]), "<u4"),
            "crowd": _packed(_joined([own.crowd for own in annotated]), "u1"),
            "score": _packed(_joined([_scores_of_truth(item) for item in items]), "<f4"),
        },
    }


def details(
    item: Item, decisions: Decisions, class_names: Sequence[str], least: float = 0.0, tolerance: float = 0.0
) -> dict[str, Any]:
    """The objects of a picture, with outlines as SVG paths in its pixels.

    Args:
        least: lowest score of detections; of a hundred most are below any that somebody looks at.
        tolerance: pixels that outlines may deviate, for small pictures; 0 gives them exactly, and what is measured too.
    """
    return {
        "number": item.number,
        "version": item.version,
        "least": least,
        "error": item.error,
        "truth": _objects(item, "truth", class_names, 0.0, tolerance),
        "found": _objects(item, "found", class_names, least, tolerance),
        "decisions": decisions.of(item.name),
    }


def keys(item: Item, class_names: Sequence[str]) -> set[str]:
    """Keys of all objects of a picture."""
    parts = [own for own in (item.truth, item.found) if own is not None]
    return {object_key(class_names[label], mask, box) for own in parts for _, label, box, mask in _each(own)}


def _each(own: Any) -> Iterator[tuple[int, int, np.ndarray, Rle | None]]:
    """(place, label, box, mask or None) of the objects of a `Record` or of `Detections`."""
    masks: Sequence[Rle | None] = list(own.masks) if own.masks else [None] * len(own.labels)
    yield from zip(range(len(masks)), own.labels.tolist(), own.boxes, masks)


def _objects(item: Item, which: str, class_names: Sequence[str], least: float, tolerance: float) -> list[dict[str, Any]]:
    own: Any = item.truth if which == "truth" else item.found
    rows = []
    for place, label, box, mask in _each(own) if own is not None else ():
        if which == "found" and own.scores[place] < least:
            continue
        row: dict[str, Any] = {"key": object_key(class_names[label], mask, box), "label": label, "box": _rounded(box)}
        row |= {"path": "", "area": _box_area(box)} if mask is None else {"path": _outline(mask, tolerance), "area": mask.area}
        if mask is not None and not tolerance:
            row |= _sides(mask)
        rows.append(row | (_of_truth(item, place) if which == "truth" else _of_detection(item, place)))
    return rows


def _of_truth(item: Item, place: int) -> dict[str, Any]:
    assert item.truth is not None
    score = -1.0 if item.match is None else float(item.match.found[place])
    return {"crowd": bool(item.truth.crowd[place]), "score": score}


def _of_detection(item: Item, place: int) -> dict[str, Any]:
    assert item.found is not None
    row: dict[str, Any] = {"score": float(np.float32(item.found.scores[place])), "hit": NOT_COMPARED}
    if item.match is not None:
        iou, truth = float(item.match.iou[place]), int(item.match.truth[place])
        row |= {"hit": int(item.match.hit[place]), "iou": round(iou, 3), "truth": truth}
    return row


# A browser asks again whenever something changes.
@functools.lru_cache(maxsize=1 << 14)
def _outline(mask: Rle, tolerance: float) -> str:
    return path_of(mask, tolerance)


@functools.lru_cache(maxsize=1 << 12)
def _sides(mask: Rle) -> dict[str, float]:
    """Length and width of a mask in pixels, see `Measurement`; nothing of an empty one."""
    found = measure(mask)
    return {"length": round(found.length, 2), "width": round(found.width, 2)} if found.area else {}


def _hits(item: Item) -> np.ndarray:
    if item.found is None:
        return np.zeros(0, np.uint8)
    return np.full(len(item.found), NOT_COMPARED, np.uint8) if item.match is None else item.match.hit


def _scores_of_truth(item: Item) -> np.ndarray:
    return np.full(len(item.truth_labels), -1.0) if item.match is None else item.match.found


def _areas(masks: Sequence[Rle] | None, boxes: np.ndarray) -> np.ndarray:
    """(n,) areas in pixels: of masks where there are any, else of boxes."""
    if masks is not None and len(masks) == len(boxes):
        return np.array([mask.area for mask in masks], np.float64)
    return np.array([_box_area(box) for box in boxes], np.float64)


def _box_area(box: np.ndarray) -> int:
    x1, y1, x2, y2 = np.asarray(box, np.float64).tolist()
    return int(max(0.0, x2 - x1) * max(0.0, y2 - y1))


def _rounded(box: np.ndarray) -> list[float]:
    return [round(side, 1) for side in np.asarray(box, np.float64).tolist()]


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.zeros(0), *parts])


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode()
