"""Candidates and detections for the tests of steps, and steps ready to be called."""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.host.registry import STEPS
from ppdet_ext.postprocess import PostProcess, Step
from ppdet_ext.structures import Detections, Rle
from ppdet_ext.structures.candidates import Candidates

SIZE = 24, 32
NAMES, IDS = ["shirt", "shoe", "bag"], [7, 40, 12]


def step_of(name: str, **arguments) -> Step:
    """A bound step."""
    step = STEPS[name](**arguments)
    step.bind(NAMES, IDS)
    return step


def steps_of(*entries: dict, mask_threshold: float = 0.5) -> PostProcess:
    return PostProcess(list(entries), NAMES, IDS, mask_threshold)


def candidates(rng: np.random.Generator, n: int = 12) -> Candidates:
    """Boxes that overlap much, scores with ties, by falling score."""
    corner = rng.uniform(0, 12, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(4, 14, (n, 2))], axis=1).astype(np.float32)
    scores = -np.sort(-np.round(rng.random(n), 1)).astype(np.float32)
    return Candidates(*SIZE, boxes, scores, rng.integers(0, 3, n), rng.random((n, 5, 5), np.float32))


def mapped(rng: np.random.Generator, quantised: bool = False) -> Candidates:
    """Probability maps of all classes, smooth, with levels of 1/16 so that classes are often equally likely."""
    noise = rng.random((len(NAMES), SIZE[0] // 4, SIZE[1] // 4), np.float32)
    maps = np.round(np.stack([cv2.resize(one, SIZE[::-1]) for one in noise]) * 16) / np.float32(16)
    found = Candidates.of_class_maps(maps, rng.random(len(NAMES), np.float32))
    return replace(found, maps=[one.quantised() for one in found.maps or []]) if quantised else found


def detections(rng: np.random.Generator, n: int = 12) -> Detections:
    """The same with masks: ragged, with holes and specks."""
    return candidates(rng, n).detections(0.6)


def masked(masks: list[Rle], labels: list[int], scores: list[float]) -> Detections:
    """Detections of those masks, with boxes half a pixel wider."""
    boxes = np.array([mask.box for mask in masks], np.float32).reshape(-1, 4) + np.float32([-0.5, -0.5, 0.5, 0.5])
    return Detections(*masks[0].size, boxes, np.array(scores, np.float32), np.array(labels, np.int64), masks)


def columns(first: int, last: int) -> Rle:
    """Columns first…last-1 of the image."""
    return Rle.full(SIZE[0], last - first).place(0, first, *SIZE)


def content(found: Candidates | Detections) -> tuple:
    """Everything in it, to compare."""
    third: list = list(found.masks or []) if isinstance(found, Detections) else []
    if isinstance(found, Candidates):
        third = found.probs.tolist() if found.probs is not None else [one.dense().tolist() for one in found.maps or []]
    return type(found), found.boxes.tolist(), found.scores.tolist(), found.labels.tolist(), third
