"""Candidates of a data set in a file: a model predicts once, thresholds are searched as often as one likes."""

import logging
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Candidates, ProbabilityMap
from ppdet_ext.structures.probability_map import LEVELS

ARRAYS = ("im_ids", "sizes", "counts", "boxes", "scores", "labels", "probs")
MAP_ARRAYS = ("map_boxes", "map_bytes", "map_data")  # beside those, of a model that classifies pixels
PRESENCE = "presence"  # where a classifier tells it
logger = logging.getLogger("ppdet_ext")


def quantised(candidates: Candidates) -> Candidates:
    """With probabilities as uint8, round(p · 255): off by at most 1/510. UserError for a model without masks."""
    boxes, scores, labels = (
        candidates.boxes.astype(np.float32),
        candidates.scores.astype(np.float32),
        candidates.labels.astype(np.int64),
    )
    if candidates.maps is not None:
        maps = [one.quantised() for one in candidates.maps]
        return replace(candidates, boxes=boxes, scores=scores, labels=labels, maps=maps)
    if candidates.probs is None:
        raise UserError("The model has no masks, so there are no thresholds to tune (HTC: HTCRoIHead.with_mask decides).")
    probs = np.rint(np.asarray(candidates.probs, np.float32) * LEVELS).astype(np.uint8)
    return replace(candidates, boxes=boxes, scores=scores, labels=labels, probs=probs)


def restored(candidates: Candidates) -> Candidates:
    """With probabilities of `quantised` as float32 again; maps are used as they are stored."""
    if candidates.probs is None:
        return candidates
    probs = np.asarray(candidates.probs, np.uint8).astype(np.float32) / np.float32(LEVELS)
    return replace(candidates, probs=probs)


def pack(candidates: Sequence[tuple[int, Candidates]]) -> dict[str, np.ndarray]:
    """Arrays of (image id, quantised candidates): one row an image in `im_ids`, `sizes` (h, w) and `counts`, then one a box."""
    sides = {one.probs.shape[1:] for _, one in candidates if one.probs is not None and len(one)}
    if len(sides) > 1:
        raise ValueError(f"mask probabilities of different sizes: {sorted(sides)}")
    side = sides.pop() if sides else (1, 1)
    arrays = {
        "im_ids": np.array([im_id for im_id, _ in candidates], np.int64),
        "sizes": np.array([(one.height, one.width) for _, one in candidates], np.int64).reshape(-1, 2),
        "counts": np.array([len(one) for _, one in candidates], np.int64),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for _, one in candidates)]),
        "scores": np.concatenate([np.zeros(0, np.float32), *(one.scores for _, one in candidates)]),
        "labels": np.concatenate([np.zeros(0, np.int64), *(one.labels for _, one in candidates)]),
        "probs": np.concatenate(
            [np.zeros((0, *side), np.uint8), *(one.probs for _, one in candidates if one.probs is not None and len(one))]
        ),
    }
    return arrays | _packed_maps(candidates) | _packed_presence(candidates)


def _packed_maps(candidates: Sequence[tuple[int, Candidates]]) -> dict[str, np.ndarray]:
    """Arrays of quantised maps, a row each, their compressed levels one after the other; none where there are no maps."""
    if all(one.maps is None for _, one in candidates):
        return {}
    maps = [one for _, found in candidates for one in found.maps or ()]
    data = [one.stored for one in maps if isinstance(one.stored, bytes)]
    if len(data) != len(maps):
        raise ValueError("maps are stored quantised")
    return {
        "map_boxes": np.array([one.box for one in maps], np.int32).reshape(-1, 4),
        "map_bytes": np.array([len(one) for one in data], np.int64),
        "map_data": np.frombuffer(b"".join(data), np.uint8),
    }


def _packed_presence(candidates: Sequence[tuple[int, Candidates]]) -> dict[str, np.ndarray]:
    told = [one.presence for _, one in candidates if one.presence is not None]
    if told and len(told) != len(candidates):
        raise ValueError("presence of classes is known of some images only")
    return {PRESENCE: np.stack(told).astype(np.float32)} if told else {}


def unpack(arrays: dict[str, np.ndarray]) -> list[tuple[int, Candidates]]:
    """What `pack` was given. ValueError where the arrays disagree."""
    ends = np.cumsum(arrays["counts"])
    if len(arrays["im_ids"]) != len(ends) or (ends[-1] if len(ends) else 0) != len(arrays["scores"]):
        raise ValueError("its counts do not add up")
    unpacked = []
    stored = [bytes(one) for one in _split(arrays["map_data"], arrays["map_bytes"])] if "map_bytes" in arrays else None
    for row, (im_id, (height, width)) in enumerate(zip(arrays["im_ids"].tolist(), arrays["sizes"].tolist())):
        part = slice(int(ends[row] - arrays["counts"][row]), int(ends[row]))
        boxes, scores, labels, probs = (arrays[name][part] for name in ("boxes", "scores", "labels", "probs"))
        presence = arrays[PRESENCE][row] if PRESENCE in arrays else None
        if stored is None:
            found = Candidates(height, width, boxes, scores, labels, probs, presence=presence)
        else:
            own = zip(arrays["map_boxes"][part].tolist(), stored[part])
            maps = [ProbabilityMap(height, width, (y1, x1, y2, x2), data) for (y1, x1, y2, x2), data in own]
            found = Candidates(height, width, boxes, scores, labels, maps=maps, presence=presence)
        unpacked.append((im_id, found))
    return unpacked


def _split(values: np.ndarray, lengths: np.ndarray) -> list[np.ndarray]:
    """Consecutive parts of these lengths. ValueError where they are not as long together."""
    ends = list(accumulate(lengths.tolist(), initial=0))
    if ends[-1] != len(values):
        raise ValueError("its maps do not add up")
    return [values[start:end] for start, end in zip(ends, ends[1:])]


def save(path: Path, candidates: Sequence[tuple[int, Candidates]]) -> None:
    """Write (image id, quantised candidates) to `path`; OSError where that fails."""
    with open(path, "wb") as file:
        # mypy takes the arrays for the flag allow_pickle.
        np.savez_compressed(file, **pack(candidates))  # type: ignore[arg-type]


def load(path: Path) -> list[tuple[int, Candidates]] | None:
    """What `save` has written, or None if there is no such file or it is damaged (which a warning says)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            further = [name for name in (*MAP_ARRAYS, PRESENCE) if name in stored]
            return unpack({name: stored[name] for name in (*ARRAYS, *further)})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        logger.warning("%s cannot be used (%s); predicting again", path, fault)
        return None
