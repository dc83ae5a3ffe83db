"""The defect-free sheet: rolled steel, lamps, strip edge, and marks that are no defects."""

from dataclasses import dataclass

import cv2
import numpy as np

from ppdet_ext.data.synthetic.noise import grain, octaves, smooth_step, value_noise


@dataclass(frozen=True)
class Background:
    """A sheet before the camera.

    light: (h, w) float32 in grey levels. steel: (h, w) bool, False beyond the edge of the strip.
    """

    light: np.ndarray
    steel: np.ndarray


def make_background(rng: np.random.Generator, height: int, width: int) -> Background:
    """Draw steel texture, lighting, unlabelled marks and, on half of the sheets, the edge of the strip."""
    scale = height / 256
    surface = 1 + _bands(rng, height, width, scale) + _ripples(rng, height, width, scale)
    surface += _roughness(rng, height, width, scale) + _marks(rng, height, width, scale)
    level = rng.uniform(62, 132)
    light = level * np.clip(surface, 0.25, 2.6) * _lighting(rng, height, width)
    steel, fade = _strip_edge(rng, height, width, scale)
    return Background((light * fade + rng.uniform(0.3, 1.2)).astype(np.float32), steel)


def expose(light: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """What the camera stores: `light` (h, w) with signal-dependent grain `noise`, as uint8."""
    stored = light + noise * (0.4 + 0.028 * np.clip(light, 0, 255))
    return np.clip(np.rint(stored), 0, 255).astype(np.uint8)


def camera_noise(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Grain (h, w) of one exposure: fine, plus a little that spans two or three pixels."""
    return 0.75 * grain(rng, height, width, 0.55) + 0.6 * grain(rng, height, width, 1.1)


def _bands(rng: np.random.Generator, height: int, width: int, scale: float) -> np.ndarray:
    """Streaks along the rolling direction: wide bands, narrow streaks and hairlines, all nearly vertical."""
    long = height * rng.uniform(3, 8)
    wide = 0.10 * rng.uniform(0.6, 1.4) * octaves(rng, height, width, long, 170 * scale, 3)
    narrow = 0.035 * rng.uniform(0.5, 1.5) * octaves(rng, height, width, height * 0.8, 9 * scale, 3)
    hair = 0.02 * rng.uniform(0.3, 1.4) * value_noise(rng, height, width, height * 2, 1.6)
    return _sway(rng, wide + narrow + hair, scale)


def _sway(rng: np.random.Generator, field: np.ndarray, scale: float) -> np.ndarray:
    """Bend vertical streaks of `field` (h, w) a little, as where the strip wandered under the rolls."""
    height, width = field.shape
    shift = rng.uniform(0, 9) * scale * value_noise(rng, height, width, height * 1.6, 240 * scale)
    xs = np.arange(width, dtype=np.float32)[None] + shift.astype(np.float32)
    ys = np.repeat(np.arange(height, dtype=np.float32)[:, None], width, axis=1)
    return cv2.remap(field, xs, ys, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)


def _ripples(rng: np.random.Generator, height: int, width: int, scale: float) -> np.ndarray:
    """The fine wrinkles across the rolling direction that some sheets show in some zones."""
    fine = value_noise(rng, height, width, 2.2, rng.uniform(7, 14))
    fine += 0.6 * value_noise(rng, height, width, 4, 22)
    zone = smooth_step(value_noise(rng, height, width, height * 2, 260 * scale), -0.4, 1.2)
    return rng.uniform(0.03, 0.11) * fine * zone


def _roughness(rng: np.random.Generator, height: int, width: int, scale: float) -> np.ndarray:
    """Zones of glittering grains and dull scale flakes: a rough surface under a flat light."""
    zone = smooth_step(octaves(rng, height, width, height * 1.2, 150 * scale, 3), rng.uniform(-0.9, 0.5), 1.5)
    cells = value_noise(rng, height, width, 1.8, 2.8)
    glitter = smooth_step(cells, 1.3, 2.6) * rng.uniform(0.35, 0.95)
    flakes = smooth_step(octaves(rng, height, width, 26 * scale, 8 * scale, 3), 0.9, 1.5)
    dull = flakes * rng.uniform(0.04, 0.16)
    return zone * (glitter + rng.uniform(0.04, 0.12) * cells) - smooth_step(zone, 0.03, 0.3) * dull


def _marks(rng: np.random.Generator, height: int, width: int, scale: float) -> np.ndarray:
    """Unlabelled marks of low contrast (water stains, roller lines, dust): to be learnt as no defect."""
    change = np.zeros((height, width), np.float32)
    for _ in range(rng.poisson(1.2)):
        _add_stain(rng, change, scale)
    if rng.random() < 0.4:
        change += _roller_lines(rng, height, width)
    for _ in range(rng.poisson(5 * width / 1600)):
        y, x = int(rng.integers(height)), int(rng.integers(width))
        cv2.circle(change, (x, y), int(rng.integers(0, 2)), float(rng.uniform(-0.35, 0.45)), -1, cv2.LINE_AA)
    return cv2.GaussianBlur(change, (0, 0), 0.7)


def _add_stain(rng: np.random.Generator, change: np.ndarray, scale: float) -> None:
    """A dried water mark: a faint disc with a slightly stronger, uneven rim, drawn into `change` (h, w)."""
    height, width = change.shape
    y, x = rng.uniform(0, height), rng.uniform(0, width)
    radius_y, radius_x = rng.uniform(25, 100) * scale, rng.uniform(20, 70) * scale
    ys, xs = np.ogrid[:height, :width]
    distance = np.sqrt(((ys - y) / radius_y) ** 2 + ((xs - x) / radius_x) ** 2).astype(np.float32)
    distance += 0.14 * octaves(rng, height, width, 40 * scale, 40 * scale, 3)
    body = 1 - smooth_step(distance, 0.8, 1.05)
    rim = np.exp(-(((distance - 1) / 0.06) ** 2))
    change += np.float32(rng.uniform(-0.05, 0.04)) * body - np.float32(rng.uniform(0.0, 0.06)) * rim


def _roller_lines(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Faint periodic lines across the sheet, (h, w), left by a roller of the line."""
    period = height * rng.uniform(0.18, 0.5)
    phase = 2 * np.pi * (np.arange(height)[:, None] / period + rng.random())
    across = smooth_step(value_noise(rng, height, width, height * 4, width / 3), -0.5, 1)
    return (np.float32(rng.uniform(0.01, 0.03)) * np.exp(8 * (np.cos(phase) - 1)) * across).astype(np.float32)


def _lighting(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Uneven lamps and the lens' vignette: a smooth factor (h, w) about 1."""
    xs = np.linspace(-1, 1, width, dtype=np.float32)[None]
    ys = np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    centre, fall = rng.uniform(-0.5, 0.5), rng.uniform(0.05, 0.38)
    lamp = 1.12 - fall * (xs - centre) ** 2 + rng.uniform(-0.15, 0.15) * xs + rng.uniform(-0.1, 0.1) * ys
    lamp = lamp * (1 - rng.uniform(0, 0.1) * ys**2)
    return lamp * (1 + 0.05 * value_noise(rng, height, width, height, width / 4))


def _strip_edge(rng: np.random.Generator, height: int, width: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Where steel is, (h, w) bool, and the factor (h, w) on light: the strip may end inside the image.

    Beyond the edge there is darkness with a glow of stray light; at it a dull border and often a bright burr.
    """
    if rng.random() > 0.5:
        return np.ones((height, width), bool), np.ones((height, width), np.float32)
    cut = width * rng.uniform(0.04, 0.45) if rng.random() < 0.85 else width * rng.uniform(0.45, 0.6)
    ys = np.arange(height, dtype=np.float32)[:, None]
    slant = rng.uniform(-0.025, 0.025) * ys + 0.5 * value_noise(rng, height, 1, 40 * scale, 1)
    inside = np.arange(width, dtype=np.float32)[None] - cut - slant
    border = rng.uniform(3, 14) * scale
    fade = smooth_step(inside, -0.8, 0.8) * (0.45 + 0.55 * smooth_step(inside, border - 1.5, border + 1.5))
    burr = rng.uniform(0.1, 0.7) * np.exp(-(((inside - border) / 1.3) ** 2))
    fade += burr * (1 + 0.3 * value_noise(rng, height, width, 6, 9))
    reach = rng.uniform(20, 110) * scale
    glow = rng.uniform(0.0, 0.25) * np.exp(np.minimum(inside, 0) / reach) * (inside <= 0)
    fade = np.maximum(fade, glow).astype(np.float32)
    steel = inside > border + 3 * scale
    if rng.random() < 0.5:
        return steel[:, ::-1].copy(), fade[:, ::-1].copy()
    return steel, fade
