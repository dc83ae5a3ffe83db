"""A standing figure: where its joints are, and its skin, hair and face."""

from dataclasses import dataclass, field

import numpy as np

from .canvas import Canvas
from .shapes import Points, ellipse, mirrored, smooth, tube

SKIN = ((0.96, 0.80, 0.69), (0.87, 0.67, 0.53), (0.72, 0.52, 0.38), (0.53, 0.36, 0.26), (0.38, 0.26, 0.19))
HAIR = ((0.10, 0.08, 0.07), (0.26, 0.17, 0.11), (0.46, 0.30, 0.16), (0.80, 0.66, 0.38), (0.55, 0.53, 0.52), (0.50, 0.18, 0.10))
SIDES = (-1, 1)


@dataclass(frozen=True)
class Figure:
    """Points are given in the figure's own measure: x from its middle, y from 0 (crown) to 1 (soles).

    foot: pixel (x, y) between the soles. size: its height in pixels. broad: stretches x. lean: shifts the head.
    arms, legs: joints of the left (−1) and right (+1) limb, shoulder, elbow, wrist and hip, knee, ankle.
    """

    foot: tuple[float, float]
    size: float
    broad: float
    lean: float
    skin: np.ndarray
    hair: np.ndarray
    long_hair: bool
    arms: dict[int, np.ndarray] = field(repr=False)
    legs: dict[int, np.ndarray] = field(repr=False)

    def __call__(self, points: Points) -> np.ndarray:
        """Pixels (n, 2) of points (n, 2) in the figure's measure."""
        x, y = np.asarray(points, float).T
        across = x * self.broad + self.lean * (1 - y)
        return np.stack((self.foot[0] + self.size * across, self.foot[1] + self.size * (y - 1)), 1)


def make_figure(rng: np.random.Generator, foot: tuple[float, float], size: float) -> Figure:
    """Draw pose and looks of a figure."""
    lift = [_limb((side * 0.106, 0.232), 0.16, 0.15, side, *_arm(rng)) for side in SIDES]
    stand = [_limb((side * 0.052, 0.53), 0.215, 0.2, side, rng.uniform(0.02, 0.16), rng.uniform(-0.05, 0.1)) for side in SIDES]
    return Figure(
        foot,
        size,
        broad=rng.uniform(1.0, 1.22),
        lean=rng.uniform(-0.03, 0.03),
        skin=np.array(SKIN[rng.integers(len(SKIN))]) * rng.uniform(0.95, 1.04),
        hair=np.array(HAIR[rng.integers(len(HAIR))]),
        long_hair=bool(rng.random() < 0.5),
        arms=dict(zip(SIDES, lift)),
        legs=dict(zip(SIDES, stand)),
    )


def _arm(rng: np.random.Generator) -> tuple[float, float]:
    """Angles of the upper arm and the forearm to the vertical: hanging, spread, or the hand on the hip."""
    if rng.random() < 0.2:
        return rng.uniform(0.6, 0.8), rng.uniform(-0.75, -0.5)
    upper = rng.uniform(0.15, 0.5)
    return upper, upper + rng.uniform(-0.35, 0.25)


def _limb(start: tuple[float, float], upper: float, lower: float, side: int, first: float, second: float) -> np.ndarray:
    """Three joints (3, 2), from segment lengths and their outward angles to the vertical."""
    middle = (start[0] + side * upper * np.sin(first), start[1] + upper * np.cos(first))
    end = (middle[0] + side * lower * np.sin(second), middle[1] + lower * np.cos(second))
    return np.array([start, middle, end])


def paint_body(canvas: Canvas, figure: Figure) -> None:
    """Hair behind the shoulders, legs, trunk and neck; head and arms come after the garments below them."""
    if figure.long_hair:
        hair = smooth(mirrored([(0.03, 0.02), (0.068, 0.06), (0.078, 0.15), (0.07, 0.25), (0.02, 0.26)]))
        canvas.paint([figure(hair)], figure.hair)
    for side in SIDES:
        leg = figure.legs[side]
        canvas.paint([_tube(figure, leg, (0.088, 0.066, 0.046))], figure.skin, shadow=0.15)
    trunk = [(0.026, 0.13), (0.028, 0.185), (0.112, 0.21), (0.098, 0.3), (0.082, 0.42), (0.096, 0.53), (0.06, 0.57)]
    canvas.paint([figure(smooth(mirrored(trunk)))], figure.skin, shadow=0.1)


def paint_arm(canvas: Canvas, figure: Figure, side: int) -> None:
    """An arm with its hand."""
    arm = figure.arms[side]
    hand = arm[2] + 0.3 * (arm[2] - arm[1]) / 2
    x, y = figure([hand])[0]
    outline = _tube(figure, arm, (0.056, 0.046, 0.034))
    canvas.paint([outline, ellipse(x, y, 0.021 * figure.size, 0.03 * figure.size)], figure.skin, shadow=0.2)


def paint_head(canvas: Canvas, figure: Figure, rng: np.random.Generator) -> None:
    """Head, hair over the forehead, eyes and mouth."""
    head = mirrored([(0.0, 0.008), (0.034, 0.018), (0.05, 0.06), (0.048, 0.1), (0.03, 0.14), (0.0, 0.155)])
    canvas.paint([figure(smooth(head))], figure.skin, shadow=0.25)
    low = rng.uniform(0.045, 0.065)
    top = mirrored([(0.0, -0.006), (0.038, 0.004), (0.06, 0.05), (0.053, 0.1), (0.046, 0.08), (0.036, low), (0.0, low - 0.012)])
    canvas.paint([figure(smooth(top))], figure.hair, shadow=0.2)
    dark = figure.skin * 0.35
    centres = [figure([(side * 0.019, 0.083)])[0] for side in SIDES]
    eyes = [ellipse(x, y, 0.006 * figure.size, 0.005 * figure.size) for x, y in centres]
    canvas.paint(eyes, dark, shadow=0, relief=0)
    mouth = tube(figure([(-0.014, 0.122), (0, 0.127), (0.014, 0.122)]), [0.006 * figure.size] * 3)
    canvas.paint([mouth], np.array([0.7, 0.25, 0.25]) * figure.skin.mean() * 1.3, shadow=0, relief=0)


def _tube(figure: Figure, joints: np.ndarray, widths: tuple[float, ...]) -> np.ndarray:
    return tube(figure(joints), np.array(widths) * figure.size * figure.broad)
