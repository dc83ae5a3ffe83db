"""Comparing an exported model with the one it was made of, on random pixels and on pictures."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import paddle

from ppdet_ext.errors import UserError, counted
from ppdet_ext.inference.ensemble import Ensemble
from ppdet_ext.inference.feature_passes import Member
from ppdet_ext.inference.views import FLIPS
from ppdet_ext.structures import Candidates
from ppdet_ext.structures.paste import paste_masks

from .graph import INPUT, NO_FLIPS, Flip
from .matching import BOXES, IMAGE, LABELS, MASKS, PROBS, SCORES, UNMATCHED, object_differences
from .reader import ReaderPlan

logger = logging.getLogger("ppdet_ext")
MAPS, PRESENCE = "maps", "presence"
# Largest and mean difference of probabilities that are let through; int8 is judged by the mean alone.
LIMITS = {"fp32": (1e-3, 1e-4), "fp16": (0.1, 5e-3), "bf16": (0.3, 2e-2), "int8": (1.0, 5e-2)}
# Of boxes, px; and the share of objects that one of both models alone finds, the likes of which stand at a threshold.
BOX_LIMITS = {"fp32": (0.5, 0.02), "fp16": (4.0, 0.5), "bf16": (float("inf"), 2.0), "int8": (float("inf"), 4.0)}
# Of pasted masks, whose pixels at the threshold may fall on either side: pixels of one mask, and in the mean.
MASK_LIMITS = (8.0, 1.0)
UNMATCHED_LIMITS = {"fp32": 0.02, "fp16": 0.1, "bf16": 0.3, "int8": 0.4}


class Engine(Protocol):
    """Runs an exported model: arrays by input -> arrays by output."""

    def run(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]: ...


@dataclass(frozen=True)
class Difference:
    """Of one output, over all pictures: the largest and the mean absolute difference."""

    output: str
    largest: float
    mean: float

    def __str__(self) -> str:
        return f"{self.output} {self.largest:.2g} (mean {self.mean:.2g})"


def eager_outputs(model: Any, plan: ReaderPlan, pixels: np.ndarray, flips: Sequence[Flip] = NO_FLIPS) -> dict[str, np.ndarray]:
    """What the model itself says, by the code that every command predicts with.

    Args:
        model: HybridTaskCascade, SemanticSegmentor or ImageClassifier, in evaluation mode.
        plan: what the model is shown.
        pixels: (B, H, W, 3) uint8, resized.
        flips: views whose mean it is; of a detector, see `inference.ensemble`.

    Returns:
        maps (B, classes, H, W) and presence (B, classes), those that the model gives; or boxes (n, 4) px, scores (n,), labels
        (n,), image (n,), with masks probs (n, S, S).
    """
    if not hasattr(model, "presence"):
        found = _objects(model, plan, pixels, flips)
        names = [BOXES, SCORES, LABELS, *([PROBS] if found[0].probs is not None else [])]
        places = np.repeat(np.arange(len(found)), [len(one) for one in found])
        return {IMAGE: places, **{name: np.concatenate([getattr(one, name) for one in found]) for name in names}}
    if tuple(flips) != NO_FLIPS:
        axes = [tuple(axis for axis, mirrored in zip((2, 1), flip) if mirrored) for flip in flips]
        views = [eager_outputs(model, plan, np.flip(pixels, own)) for own in axes]
        # Maps (B, classes, H, W) are mirrored back along the axes behind the classes.
        back = [np.flip(one[MAPS], [axis + 1 for axis in own]) for one, own in zip(views, axes)] if MAPS in views[0] else []
        means = {MAPS: np.mean(back, axis=0)} if back else {}
        return means | ({PRESENCE: np.mean([one[PRESENCE] for one in views], axis=0)} if PRESENCE in views[0] else {})
    batch = plan.batch(pixels).converted(paddle.to_tensor)
    if not hasattr(model, "maps_and_presence"):
        return {PRESENCE: model.presence(batch)}
    maps, presence = model.maps_and_presence(batch)
    return {MAPS: np.stack(maps), **({} if presence is None else {PRESENCE: presence})}


def _objects(model: Any, plan: ReaderPlan, pixels: np.ndarray, flips: Sequence[Flip]) -> list[Candidates]:
    """What a detector finds in each image; in several views, what they find together."""
    if tuple(flips) == NO_FLIPS:
        return model.candidates(plan.batch(pixels).converted(paddle.to_tensor), model.settings)
    names = {flip: name for name, flip in FLIPS.items()}
    ensemble = Ensemble([Member(model, plan.views([names[flip] for flip in flips]))])
    return [found for own in pixels for found in ensemble.candidates({"sample": plan.sample(own)}, model.settings)]


def random_pixels(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """(batch, height, width, 3) uint8: noise over a slow gradient, so that there is something of every size to see."""
    rng = np.random.default_rng(seed)
    slow = np.linspace(0, 120, height)[:, None, None] + np.linspace(0, 80, width)[None, :, None]
    return np.clip(slow + rng.integers(0, 60, (batch, height, width, 3)), 0, 255).astype(np.uint8)


def compare(
    model: Any, plan: ReaderPlan, engine: Engine, pictures: Sequence[np.ndarray], flips: Sequence[Flip] = NO_FLIPS
) -> list[Difference]:
    """Run the exported model beside the eager one, and log how they differ.

    Args:
        model, plan, flips: see `eager_outputs`.
        engine: of the exported model.
        pictures: batches (B, H, W, 3) uint8, as the graph takes them.

    Raises:
        UserError: an output is not finite or has another shape.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    objects = 0
    for pixels in pictures:
        expected, got = eager_outputs(model, plan, pixels, flips), engine.run({INPUT: pixels})
        objects += len(expected.get(SCORES, ()))
        own_masks = {MASKS: _pasted_otherwise(got, model.settings.mask_threshold)} if MASKS in got else {}
        for name, own in {**_differences(expected, got), **own_masks}.items():
            found.setdefault(name, []).append(own)
    differences = [Difference(name, max(a for a, _ in own), float(np.mean([b for _, b in own]))) for name, own in found.items()]
    logger.info("Eager against exported, %s: %s", counted(len(pictures), "batches"), "; ".join(map(str, differences)))
    if SCORES in found and not objects:
        logger.warning("The model found nothing in them, so little was compared; give TestDataset pictures with objects")
    return differences


def check(differences: Sequence[Difference], precision: str) -> None:
    """UserError where models differ by more than `LIMITS` lets a precision."""
    if over := [f"{one}, allowed {_limits(one.output, precision)}" for one in differences if not _within(one, precision)]:
        raise UserError(
            f"The exported model differs from the eager one by more than {precision} may: {'; '.join(over)}. Nothing was "
            "written; try another --precision or --format."
        )


def _within(one: Difference, precision: str) -> bool:
    largest, mean = _limits(one.output, precision)
    return one.largest <= largest and one.mean <= mean


def _limits(output: str, precision: str) -> tuple[float, float]:
    if output == UNMATCHED:
        return UNMATCHED_LIMITS[precision], UNMATCHED_LIMITS[precision]
    if output == MASKS:
        return MASK_LIMITS
    return (BOX_LIMITS if output == BOXES else LIMITS)[precision]


def _differences(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Largest and mean absolute difference by output. Raises: UserError for another shape or no number."""
    differences, objects = {}, SCORES in expected
    for name, value in expected.items():
        own = got.get(name)
        # Of objects, one model may find more than the other.
        if own is None or own.shape[objects:] != value.shape[objects:]:
            told = "missing" if own is None else f"of shape {own.shape}"
            raise UserError(f"The exported model's output {name} is {told}; the eager one's is of shape {value.shape}.")
        if not np.isfinite(own).all():
            raise UserError(f"The exported model's output {name} is not finite.")
        if objects:
            continue
        apart = np.abs(own.astype(np.float64) - value)
        differences[name] = float(apart.max(initial=0.0)), float(apart.mean()) if apart.size else 0.0
    return object_differences(expected, got) if objects else differences


def _pasted_otherwise(got: Mapping[str, np.ndarray], threshold: float) -> tuple[float, float]:
    """Pixels by which a mask that the graph has pasted differs from what the runtime makes of the same probabilities."""
    masks = got[MASKS]
    height, width = masks.shape[1:]
    own = paste_masks(got[PROBS], got[BOXES], height, width, threshold) if len(masks) else []
    apart = [float((mask != one.to_bitmap()).sum()) for mask, one in zip(masks, own)]
    return max(apart, default=0.0), float(np.mean(apart)) if apart else 0.0
