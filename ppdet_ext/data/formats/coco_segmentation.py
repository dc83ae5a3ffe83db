"""The `segmentation` of a COCO annotation: in all the shapes that exporters give it, as a mask."""

import contextlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Rle

from .numbering import Evidence, is_asked
from .rle_csv import RleCsv

# What the key `encoding` of a mask may say; the last looks like COCO's run lengths, but goes along the rows.
_COCOS_OWN, _ROW_MAJOR = ("rle", "coco", "coco_rle", "rle-column-major-zero-first"), "rle-row-major-zero-first"
_POINTS = 3
_EXPECTED = "COCO wants a list of polygons [[x, y, x, y, …], …], or {size, counts}"


def has_segmentation(item: dict) -> bool:
    """Whether an annotation has one at all: `[[]]`, as some tools write for a box, is none."""
    found = item.get("segmentation")
    return any(part not in ([], None) for part in found) if isinstance(found, list) else bool(found)


def segmentation_mask(segmentation: Any, height: int, width: int) -> Rle:
    """The mask of a COCO segmentation: a list of polygons, or a run-length dict. None, [] and [[]] are an empty mask.

    One flat polygon, polygons of [x, y] points, and numbers written as text are read, too; parts of fewer than three points
    have no area. Run lengths are COCO's, down the columns, unless their key `encoding` says that they go along the rows.

    Raises: UserError for anything else, for fractions in place of pixels, and for a run-length mask of another size.
    """
    if not segmentation:
        return Rle.empty(height, width)
    if isinstance(segmentation, list) and all(isinstance(part, dict) and "counts" in part for part in segmentation):
        return Rle.merge([segmentation_mask(part, height, width) for part in segmentation])
    if isinstance(segmentation, list):
        polygons = [part for part in polygons_of(segmentation) if len(part) >= 2 * _POINTS or len(part) % 2]
        if polygons and max(height, width) > 2 and all(0 <= value <= 1 for part in polygons for value in part):
            raise UserError("all its coordinates lie between 0 and 1, as fractions of the picture; COCO counts pixels")
        return Rle.from_polygons(polygons, height, width) if polygons else Rle.empty(height, width)
    if not isinstance(segmentation, dict):
        raise UserError(f"segmentation {_short(segmentation)} is {_kind(segmentation)}; {_EXPECTED}")
    mask = _run_lengths(segmentation)
    if mask.size != (height, width):
        raise UserError(f"its mask has size {mask.height}x{mask.width}, its image {height}x{width} (height x width)")
    return mask


def polygons_of(segmentation: list) -> list[list[float]]:
    """Flat polygons [x, y, x, y, …], whichever way they are nested. Raises: UserError for what is none."""
    if not any(isinstance(part, list | dict) for part in segmentation):
        return [_numbers(segmentation, 0)]
    if len(segmentation) >= _POINTS and _are_points(segmentation):
        # No polygon has two coordinates, so these are the points of one.
        return [_numbers([value for point in segmentation for value in point], 0)]
    return [_numbers(part, place) for place, part in enumerate(segmentation)]


def _numbers(part: Any, place: int) -> list[float]:
    if part is None:
        return []
    if not isinstance(part, list):
        raise UserError(f"polygon {place} is {_kind(part)} ({_short(part)}); {_EXPECTED}")
    if part and _are_points(part):
        part = [value for point in part for value in point]
    try:
        # Text of a number is one; None and lists are none.
        return [float(value) for value in part]
    except (TypeError, ValueError):
        wrong = next(value for value in part if not _is_number(value))
        raise UserError(f"polygon {place} has the coordinate {_short(wrong)}, which is no number; {_EXPECTED}") from None


def _are_points(part: list) -> bool:
    pairs = all(isinstance(point, list) and len(point) == 2 for point in part)
    return pairs and not any(isinstance(value, list | dict) for point in part for value in point)


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _kind(value: Any) -> str:
    return "a text" if isinstance(value, str) else "an object" if isinstance(value, dict) else "a number"


def _short(value: Any) -> str:
    text = "null" if value is None else repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _run_lengths(segmentation: dict) -> Rle:
    encoding = segmentation.get("encoding")
    if encoding is None or str(encoding).lower() in _COCOS_OWN:
        return Rle.from_coco(segmentation)
    if str(encoding).lower() != _ROW_MAJOR:
        raise UserError(f"encoding {str(encoding)[:60]!r} is not known (known: {', '.join((*_COCOS_OWN, _ROW_MAJOR))})")
    try:
        height, width = segmentation["size"]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"size {segmentation.get('size')!r} is not [height, width]") from None
    return Rle.from_coco({**segmentation, "size": [width, height]}).transpose()


def demand_columns(items: Iterable[dict], source: str) -> None:
    """Ask the run lengths of annotations for their order, unless `encoding` tells it: encoded along the rows they make stripes.

    Raises: UserError where they look row-major.
    """
    evidence, number = Evidence(RleCsv({"name": "{name}", "counts": "{rle}"})), 0
    for item in items:
        found = item.get("segmentation")
        if not isinstance(found, dict) or found.get("encoding") is not None:
            continue
        number += 1
        if is_asked(number):
            # What is malformed is named where it is read.
            with contextlib.suppress(UserError):
                evidence.add_mask(Rle.from_coco(found))
    if evidence.told_order == "rows":
        votes, (height, width) = evidence.votes, evidence.size
        raise UserError(
            f"{source}: the run lengths look row-major, where COCO's go down the columns: read so, {votes['rows']} of "
            f"{counted(sum(votes.values()), 'masks')} that can tell fall into stripes (for example one of {height}x{width}, "
            'height x width). Encode np.asfortranarray(mask), or write "encoding": "rle-row-major-zero-first" into each '
            'segmentation; if they are COCO\'s all the same, "encoding": "coco".'
        )


def rectangle(box: tuple[float, float, float, float], height: int, width: int) -> Rle:
    """The mask of a box (x1, y1, x2, y2) inside the image: its pixels, at least one."""
    left, top = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    right, bottom = max(round(box[2]), left + 1), max(round(box[3]), top + 1)
    return Rle.full(bottom - top, right - left).place(top, left, height, width)


def box_iou(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """IoU (n,) of boxes (n, 4) x1 y1 x2 y2 in pairs, each widened by half a pixel, so that outlines count as their pixels."""
    one, other = one + [-0.5, -0.5, 0.5, 0.5], other + [-0.5, -0.5, 0.5, 0.5]
    sides = np.minimum(one[:, 2:], other[:, 2:]) - np.maximum(one[:, :2], other[:, :2])
    common = np.prod(np.clip(sides, 0, None), axis=1)
    areas = [np.prod(np.clip(box[:, 2:] - box[:, :2], 0, None), axis=1) for box in (one, other)]
    return common / np.maximum(areas[0] + areas[1] - common, 1e-9)
