"""Comparing an exported model with the one it was made of, on random pixels and on pictures."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import paddle

from ppdet_ext.errors import UserError

from .graph import INPUT
from .reader import ReaderPlan

logger = logging.getLogger("ppdet_ext")
MAPS, PRESENCE = "maps", "presence"
# Largest and mean difference of probabilities that are let through; int8 is judged by the mean alone.
LIMITS = {"fp32": (1e-3, 1e-4), "fp16": (0.1, 5e-3), "bf16": (0.3, 2e-2), "int8": (1.0, 5e-2)}


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


def eager_outputs(model: Any, plan: ReaderPlan, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What the model itself says, by the code that every command predicts with.

    Args:
        model: SemanticSegmentor or ImageClassifier, in evaluation mode.
        plan: what the model is shown.
        pixels: (B, H, W, 3) uint8, resized.

    Returns:
        maps (B, classes, H, W) and presence (B, classes), those that the model gives.
    """
    batch = plan.batch(pixels).converted(paddle.to_tensor)
    if not hasattr(model, "maps_and_presence"):
        return {PRESENCE: model.presence(batch)}
    maps, presence = model.maps_and_presence(batch)
    return {MAPS: np.stack(maps), **({} if presence is None else {PRESENCE: presence})}


def random_pixels(batch: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """(batch, height, width, 3) uint8: noise over a slow gradient, so that there is something of every size to see."""
    rng = np.random.default_rng(seed)
    slow = np.linspace(0, 120, height)[:, None, None] + np.linspace(0, 80, width)[None, :, None]
    return np.clip(slow + rng.integers(0, 60, (batch, height, width, 3)), 0, 255).astype(np.uint8)


def verify(
    model: Any, plan: ReaderPlan, engine: Engine, pictures: Sequence[np.ndarray], precision: str = "fp32"
) -> list[Difference]:
    """Compare the exported model with the eager one, and log how they differ.

    Args:
        model, plan: see `eager_outputs`.
        engine: of the exported model.
        pictures: batches (B, H, W, 3) uint8, as the graph takes them.
        precision: of `LIMITS`.

    Raises:
        UserError: they differ by more than `LIMITS`, an output is not finite or has another shape.
    """
    found: dict[str, list[tuple[float, float]]] = {}
    for pixels in pictures:
        expected, got = eager_outputs(model, plan, pixels), engine.run({INPUT: pixels})
        for name, (largest, mean) in _differences(expected, got).items():
            found.setdefault(name, []).append((largest, mean))
    differences = [Difference(name, max(a for a, _ in own), float(np.mean([b for _, b in own]))) for name, own in found.items()]
    logger.info("Eager against exported, %d batch(es): %s", len(pictures), "; ".join(map(str, differences)))
    most, mean = LIMITS[precision]
    if over := [str(one) for one in differences if not (one.largest <= most and one.mean <= mean)]:
        raise UserError(
            f"The exported model differs from the eager one by more than {most:g} (mean {mean:g}), which {precision} may: "
            f"{'; '.join(over)}. Nothing was written; try another --precision or --format."
        )
    return differences


def _differences(expected: Mapping[str, np.ndarray], got: Mapping[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """Largest and mean absolute difference by output. Raises: UserError for another shape or no number."""
    differences = {}
    for name, value in expected.items():
        own = got.get(name)
        if own is None or own.shape != value.shape:
            told = "missing" if own is None else f"of shape {own.shape}"
            raise UserError(f"The exported model's output {name} is {told}; the eager one's is of shape {value.shape}.")
        if not np.isfinite(own).all():
            raise UserError(f"The exported model's output {name} is not finite.")
        apart = np.abs(own.astype(np.float64) - value)
        differences[name] = float(apart.max(initial=0.0)), float(apart.mean()) if apart.size else 0.0
    return differences
