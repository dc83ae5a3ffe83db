"""The four defect kinds. A maker draws one defect on its own small canvas, a `Stamp`; `sheet.py` places it.

Classes as in Kaggle's Severstal set (which names them only by number): 1 clusters of pits, 2 thin long
scratches, 3 streaks and blotches along the rolling direction, 4 large rough patches, some with holes. Sizes
follow the real masks' medians (27×44, 18×167, 33×147 and 141×107 pixels, width × height, at 256 lines) and
scale with the sheet's height.
"""

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from ppdet_ext.data.synthetic.noise import octaves, smooth_step, value_noise

CLASS_IDS = (1, 2, 3, 4)


@dataclass(frozen=True)
class Stamp:
    """One defect on its canvas.

    mask: (h, w) bool, the labelled pixels. change: (h, w) float32, relative change of light (−1 is black).
    """

    mask: np.ndarray
    change: np.ndarray

    def trimmed(self) -> "Stamp":
        """The same defect without the empty margin of its canvas."""
        ys, xs = np.flatnonzero(self.mask.any(1)), np.flatnonzero(self.mask.any(0))
        if not len(ys):
            return self
        # A skirt of 2 px stays around the mask, for the soft rim of the defect.
        window = np.s_[max(0, ys[0] - 2) : ys[-1] + 3, max(0, xs[0] - 2) : xs[-1] + 3]
        return Stamp(self.mask[window], self.change[window])


def make_pits(rng: np.random.Generator, scale: float) -> Stamp:
    """Class 1: 10–40 dark pits with a bright lip, in one cluster; the mask is the cluster."""
    height, width = int(rng.uniform(36, 84) * scale) + 8, int(rng.uniform(26, 54) * scale) + 8
    change, mask = np.zeros((height, width), np.float32), np.zeros((height, width), np.uint8)
    count = int(np.clip(height * width / (75 * scale**2), 10, 40))
    for _ in range(count):
        radius = float(np.clip(rng.lognormal(0.75, 0.3) * scale, 0.9, 4.5 * max(scale, 0.5)))
        angle, away = rng.uniform(0, 2 * np.pi), np.sqrt(rng.random())
        y = height / 2 + (height / 2 - 7 * scale) * away * np.sin(angle)
        x = width / 2 + (width / 2 - 7 * scale) * away * np.cos(angle)
        _add_pit(rng, change, y, x, radius)
        cv2.circle(mask, (round(x), round(y)), round(radius + 4.5 * scale), 1, -1)
    mask = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, _disc(5 * scale))
    return Stamp(largest_component(mask), change).trimmed()


def _add_pit(rng: np.random.Generator, change: np.ndarray, y: float, x: float, radius: float) -> None:
    """A dark elongated dip with a lit lower lip, added to `change` (h, w)."""
    ys, xs = np.ogrid[: change.shape[0], : change.shape[1]]
    stretch = rng.uniform(1.0, 1.9)
    squared = ((ys - y) / (radius * stretch)) ** 2 + ((xs - x) / radius) ** 2
    lip = ((ys - y - radius * stretch) / (0.6 * radius + 0.4)) ** 2 + ((xs - x) / radius) ** 2
    pit = rng.uniform(0.45, 0.75) * np.exp(-(squared**1.5))
    change += rng.uniform(0.15, 0.45) * np.exp(-lip)
    np.minimum(change, -pit, out=change, where=pit > 0.08)


def make_scratch(rng: np.random.Generator, scale: float) -> Stamp:
    """Class 2: one thin long scratch, upright or slightly slanted and bent, dark with a bright edge."""
    height = int(rng.uniform(90, 235) * scale) + 8
    margin = round(12 * scale) + 4
    slant = rng.uniform(-0.14, 0.14) * height
    ys = np.arange(height, dtype=np.float32)
    bend = rng.uniform(-5, 5) * scale * np.sin(np.pi * ys / height) + 0.8 * scale * value_noise(rng, height, 1, 14, 1)[:, 0]
    centre = slant * (ys / height) + bend
    centre += margin - centre.min()
    width = int(centre.max()) + margin + 1
    distance = np.arange(width, dtype=np.float32)[None] - centre[:, None]
    ends = smooth_step(np.minimum(ys - 3, height - 4 - ys), 0, 9 * scale)[:, None]
    thickness = rng.uniform(1.5, 2.8) * max(scale, 0.5) * (0.55 + 0.45 * ends)
    thickness = thickness * np.exp(0.22 * value_noise(rng, height, 1, 20 * scale, 1))
    uneven = np.clip(0.85 + 0.3 * value_noise(rng, height, width, 18 * scale, 6), 0.35, 1.2)
    dark = rng.uniform(0.5, 0.75) * np.exp(-((distance / thickness) ** 2))
    side = 1.0 if rng.random() < 0.5 else -1.0
    bright = rng.uniform(0.25, 0.65) * np.exp(-(((distance - side * 2.1 * thickness) / (0.8 * thickness)) ** 2))
    half = np.maximum((5.0 * scale + 2.0) * (0.7 + 0.3 * ends), 2.8 * thickness)
    inside = (ends > 0) & (np.abs(distance) <= half)
    return Stamp(largest_component(inside), ((bright - dark) * uneven * ends).astype(np.float32)).trimmed()


def make_blotch(rng: np.random.Generator, scale: float) -> Stamp:
    """Class 3: a streak or blotch along the rolling direction; scuffed bright, one in five dark."""
    streak = rng.random() < 0.55
    height = (rng.uniform(90, 250) if streak else rng.uniform(55, 150)) * scale
    width = (rng.uniform(20, 46) if streak else rng.uniform(48, 130)) * scale
    rows, cols = int(height * 1.2) + 12, int(width * 1.4) + 12
    ys = (np.arange(rows, dtype=np.float32)[:, None] - rows / 2) / (height / 2)
    drift = rng.uniform(-0.3, 0.3) * width * ys
    xs = (np.arange(cols, dtype=np.float32)[None] - cols / 2 - drift) / (width / 2)
    # Exponent 2.5 gives blunt ends, like the real blotches, between an ellipse and a box.
    distance = (np.abs(ys) ** 2.5 + np.abs(xs) ** 2.5) ** 0.4
    distance = distance + 0.13 * octaves(rng, rows, cols, 50 * scale, 22 * scale, 3)
    ragged = distance + 0.13 * octaves(rng, rows, cols, 46 * scale, 5 * scale + 1, 3)
    body = 1 - smooth_step(ragged, 0.55, 1.0)
    scuff = octaves(rng, rows, cols, 90 * scale, 3 * scale + 1, 3) + 0.5 * value_noise(rng, rows, cols, 2.5, 2.5)
    sign = -0.6 if rng.random() < 0.2 else 1.0
    change = sign * rng.uniform(0.45, 0.85) * body * np.clip(0.75 + 0.4 * scuff, 0.05, 1.8)
    outline = cv2.morphologyEx(largest_component(distance < 0.92).astype(np.uint8), cv2.MORPH_OPEN, _disc(3 * scale))
    return Stamp(largest_component(outline), change.astype(np.float32)).trimmed()


def make_patch(rng: np.random.Generator, scale: float) -> Stamp:
    """Class 4: a large patch of torn scale: irregular outline, dark relief; a third have holes."""
    height, width = rng.uniform(95, 230) * scale, rng.uniform(95, 240) * scale
    rows, cols = int(height * 1.15) + 10, int(width * 1.15) + 10
    ys = (np.arange(rows, dtype=np.float32)[:, None] - rows / 2) / (height / 2)
    xs = (np.arange(cols, dtype=np.float32)[None] - cols / 2) / (width / 2)
    distance = np.sqrt(ys**2 + xs**2) + 0.2 * octaves(rng, rows, cols, 80 * scale, 50 * scale, 5, 0.6)
    outline = _filled(largest_component(distance < 0.86))
    solid = outline & ~_holes(rng, rows, cols, scale, outline)
    solid = largest_component(cv2.morphologyEx(solid.astype(np.uint8), cv2.MORPH_OPEN, np.ones((3, 3), np.uint8)))
    soft = cv2.GaussianBlur(solid.astype(np.float32), (0, 0), 0.9)
    relief = octaves(rng, rows, cols, 60 * scale, 14 * scale, 4, 0.65)
    # Difference down the rows: relief lit from above, so flakes get bright upper and dark lower faces.
    lit = np.gradient(cv2.GaussianBlur(relief, (0, 0), 1.0), axis=0)
    lit = np.clip(lit / (lit.std() + 1e-6), -2.5, 2.5)
    rim = np.clip(soft - cv2.GaussianBlur(soft, (0, 0), 3 * max(scale, 0.4)), 0, 1)
    tone = -rng.uniform(0.2, 0.34) + 0.14 * np.clip(relief, -2, 2) + rng.uniform(0.07, 0.17) * lit
    change = soft * tone + 0.8 * rim * np.clip(0.5 + relief, 0, 1.5)
    return Stamp(solid, change.astype(np.float32)).trimmed()


def _holes(rng: np.random.Generator, rows: int, cols: int, scale: float, outline: np.ndarray) -> np.ndarray:
    """Islands of sound steel well inside `outline`, (rows, cols) bool; none on two patches of three."""
    inner = np.zeros((rows, cols), np.float32)
    if rng.random() < 0.62:
        return inner > 0
    depth = cv2.distanceTransform(outline.astype(np.uint8), cv2.DIST_L2, 5)
    bumps = octaves(rng, rows, cols, 30 * scale, 30 * scale, 3)
    for _ in range(int(rng.integers(1, 4))):
        y, x = np.unravel_index(int(rng.choice(np.flatnonzero(depth >= 0.55 * depth.max()))), depth.shape)
        ys, xs = np.ogrid[:rows, :cols]
        away = np.sqrt((ys - y) ** 2 + (xs - x) ** 2) / (rng.uniform(0.3, 0.5) * depth.max())
        inner = np.maximum(inner, (away + 0.3 * bumps < 1).astype(np.float32))
    return (inner > 0) & (depth > 5 * scale + 1)


def _disc(radius: float) -> np.ndarray:
    """A round structuring element of at least 3×3."""
    size = 2 * max(1, round(radius)) + 1
    return cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest 8-connected component of `mask`, (h, w) bool; an empty mask stays empty."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(np.asarray(mask, np.uint8), connectivity=8)
    if count <= 1:
        return np.zeros(mask.shape, bool)
    return labels == 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))


def _filled(mask: np.ndarray) -> np.ndarray:
    """`mask` (h, w) bool with its holes filled."""
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return cv2.drawContours(np.zeros(mask.shape, np.uint8), contours, -1, 1, -1) > 0


MAKERS: dict[int, Callable[[np.random.Generator, float], Stamp]] = {
    1: make_pits,
    2: make_scratch,
    3: make_blotch,
    4: make_patch,
}
