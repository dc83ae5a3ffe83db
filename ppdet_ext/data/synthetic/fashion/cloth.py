"""Cloth: a colour, a pattern and folds."""

import colorsys
from dataclasses import dataclass

import numpy as np

from ppdet_ext.data.synthetic.noise import value_noise

from .labels import CHECKED, DOTTED, KNITTED, PLAIN, STRIPED

PATTERNS = (PLAIN, STRIPED, CHECKED, DOTTED, KNITTED)
SHARES = (0.4, 0.2, 0.15, 0.12, 0.13)


@dataclass(frozen=True)
class Cloth:
    """pattern: one of `PATTERNS`. colours: ground and pattern, (3,) RGB 0–1. period in pixels, turn in radians."""

    pattern: int
    colours: tuple[np.ndarray, np.ndarray]
    period: float
    turn: float


def dye(rng: np.random.Generator, vivid: float = 1.0) -> np.ndarray:
    """A random colour (3,) as garments have it; `vivid` scales the saturation."""
    if rng.random() < 0.25:
        return np.full(3, rng.choice([0.12, 0.2, 0.5, 0.8, 0.92])) * rng.uniform(0.9, 1.08, 3)
    return np.array(colorsys.hsv_to_rgb(rng.random(), vivid * rng.uniform(0.35, 0.95), rng.uniform(0.3, 0.95)))


def make_cloth(rng: np.random.Generator, unit: float) -> Cloth:
    """Draw what a cloth looks like; `unit`: pixels per pixel of a picture 256 high."""
    pattern = PATTERNS[rng.choice(len(PATTERNS), p=SHARES)]
    ground = dye(rng)
    other = dye(rng)
    if abs(other.mean() - ground.mean()) < 0.25:
        other = np.clip(ground + (0.38 if ground.mean() < 0.5 else -0.38), 0.03, 0.97)
    upright = rng.choice([0.0, np.pi / 2])
    return Cloth(pattern, (ground, other), rng.uniform(7, 12) * unit, upright + rng.normal(0, 0.06))


def render(rng: np.random.Generator, cloth: Cloth, height: int, width: int, unit: float, folds: float = 1.0) -> np.ndarray:
    """The cloth over a whole picture (h, w, 3) float32, folded mostly from top to bottom; `folds` is how strongly."""
    share = _pattern(cloth, height, width)[..., None]
    colour = cloth.colours[0] * (1 - share) + cloth.colours[1] * share
    light = 0.10 * value_noise(rng, height, width, 45 * unit, 9 * unit) + 0.05 * value_noise(rng, height, width, 12, 12)
    if cloth.pattern == KNITTED:
        light = light + 0.07 * value_noise(rng, height, width, 1.5, 2.5)
    return (colour * np.clip(1 + folds * light, 0.5, 1.5)[..., None]).astype(np.float32)


def _pattern(cloth: Cloth, height: int, width: int) -> np.ndarray:
    """(h, w) share of the second colour, 0–1."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    u = (x * np.cos(cloth.turn) + y * np.sin(cloth.turn)) / cloth.period
    v = (y * np.cos(cloth.turn) - x * np.sin(cloth.turn)) / cloth.period
    if cloth.pattern == STRIPED:
        return _edge(np.cos(2 * np.pi * u) - 0.2)
    if cloth.pattern == CHECKED:
        return 0.55 * (_edge(np.cos(2 * np.pi * u)) + _edge(np.cos(2 * np.pi * v)))
    if cloth.pattern == DOTTED:
        return _edge(np.cos(2 * np.pi * u) * np.cos(2 * np.pi * v) - 0.45)
    if cloth.pattern == KNITTED:
        # Rows of stitches: two slanted strokes each, seen as fine zigzag.
        return 0.35 * _edge(np.cos(4 * np.pi * (v + 0.25 * np.abs(np.mod(2 * u, 1) - 0.5))))
    return np.zeros((height, width), np.float32)


def _edge(wave: np.ndarray) -> np.ndarray:
    return np.clip(0.5 + 2.5 * wave, 0, 1)
