"""Candidates of a data set in a file: a model predicts once, thresholds are searched as often as one likes."""

import logging
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Candidates

LEVELS = 255
ARRAYS = ("im_ids", "sizes", "counts", "boxes", "scores", "labels", "probs")
logger = logging.getLogger("ppdet_ext")


def quantised(candidates: Candidates) -> Candidates:
    """With probabilities as uint8, round(p · 255): off by at most 1/510. UserError for a model without masks."""
    if candidates.probs is None:
        raise UserError("The model has no masks, so there are no thresholds to tune (HTC: HTCRoIHead.with_mask decides).")
    probs = np.rint(np.asarray(candidates.probs, np.float32) * LEVELS).astype(np.uint8)
    boxes, scores = candidates.boxes.astype(np.float32), candidates.scores.astype(np.float32)
    return Candidates(candidates.height, candidates.width, boxes, scores, candidates.labels.astype(np.int64), probs)


def restored(candidates: Candidates) -> Candidates:
    """With probabilities of `quantised` as float32 again."""
    probs = np.asarray(candidates.probs, np.uint8).astype(np.float32) / np.float32(LEVELS)
    return Candidates(candidates.height, candidates.width, candidates.boxes, candidates.scores, candidates.labels, probs)


def pack(candidates: Sequence[tuple[int, Candidates]]) -> dict[str, np.ndarray]:
    """Arrays of (image id, quantised candidates): one row an image in `im_ids`, `sizes` (h, w) and `counts`, then one a box."""
    sides = {one.probs.shape[1:] for _, one in candidates if one.probs is not None and len(one)}
    if len(sides) > 1:
        raise ValueError(f"mask probabilities of different sizes: {sorted(sides)}")
    side = sides.pop() if sides else (1, 1)
    return {
        "im_ids": np.array([im_id for im_id, _ in candidates], np.int64),
        "sizes": np.array([(one.height, one.width) for _, one in candidates], np.int64).reshape(-1, 2),
        "counts": np.array([len(one) for _, one in candidates], np.int64),
        "boxes": np.concatenate([np.zeros((0, 4), np.float32), *(one.boxes for _, one in candidates)]),
        "scores": np.concatenate([np.zeros(0, np.float32), *(one.scores for _, one in candidates)]),
        "labels": np.concatenate([np.zeros(0, np.int64), *(one.labels for _, one in candidates)]),
        "probs": np.concatenate([np.zeros((0, *side), np.uint8), *(one.probs for _, one in candidates if len(one))]),
    }


def unpack(arrays: dict[str, np.ndarray]) -> list[tuple[int, Candidates]]:
    """What `pack` was given. ValueError where the arrays disagree."""
    ends = np.cumsum(arrays["counts"])
    if len(arrays["im_ids"]) != len(ends) or (ends[-1] if len(ends) else 0) != len(arrays["scores"]):
        raise ValueError("its counts do not add up")
    unpacked = []
    for im_id, (height, width), end, count in zip(arrays["im_ids"], arrays["sizes"], ends, arrays["counts"]):
        part = slice(end - count, end)
        boxes, scores, labels, probs = (arrays[name][part] for name in ("boxes", "scores", "labels", "probs"))
        unpacked.append((int(im_id), Candidates(int(height), int(width), boxes, scores, labels, probs)))
    return unpacked


def save(path: Path, candidates: Sequence[tuple[int, Candidates]]) -> None:
    """Write (image id, quantised candidates) to `path`; OSError where that fails."""
    with open(path, "wb") as file:
        # mypy takes the arrays for the flag allow_pickle.
        np.savez_compressed(file, **pack(candidates))  # type: ignore[arg-type]


def load(path: Path) -> list[tuple[int, Candidates]] | None:
    """What `save` has written, or None if there is no such file or it is damaged (which a warning says)."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return unpack({name: stored[name] for name in ARRAYS})
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as fault:
        logger.warning("%s cannot be used (%s); predicting again", path, fault)
        return None
