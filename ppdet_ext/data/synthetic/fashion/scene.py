"""The room behind the figures: wall, floor, and things of the same cloths that are no garments."""

from collections.abc import Callable

import numpy as np

from ppdet_ext.data.synthetic.noise import octaves, smooth_step

from .canvas import Canvas
from .cloth import dye, make_cloth, render
from .shapes import box, ellipse, smooth, tube


def make_room(rng: np.random.Generator, height: int, width: int) -> tuple[Canvas, float]:
    """A canvas with wall and floor, and the line (y, pixels) where they meet."""
    unit = height / 256
    line = height * rng.uniform(0.76, 0.86)
    wall, floor = dye(rng, 0.45) * 0.45 + rng.uniform(0.3, 0.5), dye(rng, 0.5) * 0.6 + rng.uniform(0.05, 0.3)
    y, x = np.mgrid[:height, :width].astype(np.float32)
    below = smooth_step(y, line - 0.7, line + 0.7)[..., None]
    image = wall * (1 - below) + floor * below
    light = 1 + rng.uniform(-0.18, 0.18) * (x / width - 0.5) - rng.uniform(0, 0.25) * (y / height - 0.3)
    light += 0.03 * octaves(rng, height, width, 60 * unit, 60 * unit, 4)
    boards = (1 - below[..., 0]) if rng.random() < 0.5 else below[..., 0]
    if rng.random() < 0.4:
        light -= 0.06 * boards * (np.cos(2 * np.pi * x / (rng.uniform(14, 40) * unit)) > 0.8)
    canvas = Canvas((np.clip(image * light[..., None], 0, 1)).astype(np.float32), unit)
    if rng.random() < 0.7:
        canvas.paint([box(-5, line - 5 * unit, width + 5, line + unit)], wall * 1.1, relief=0.1)
    return canvas, line


def furnish(canvas: Canvas, rng: np.random.Generator, line: float, count: int) -> None:
    """Paint `count` things, none of them labelled."""
    things: tuple[Callable[..., None], ...] = (_curtain, _chair, _cushion, _frame, _carton, _towel, _lamp, _studs)
    shares = np.array([0.2, 0.18, 0.1, 0.14, 0.12, 0.14, 0.06, 0.06])
    for choice in rng.choice(len(things), size=count, replace=False, p=shares):
        things[choice](canvas, rng, line)


def _cloth(canvas: Canvas, rng: np.random.Generator, folds: float) -> np.ndarray:
    height, width = canvas.image.shape[:2]
    return render(rng, make_cloth(rng, canvas.unit), height, width, canvas.unit, folds)


def _aside(canvas: Canvas, rng: np.random.Generator) -> float:
    """An x (pixels) that is more likely near the left or right edge."""
    width = canvas.image.shape[1]
    return width * (rng.uniform(0.02, 0.25) if rng.random() < 0.5 else rng.uniform(0.75, 0.98))


def _curtain(canvas: Canvas, rng: np.random.Generator, line: float) -> None:
    width = canvas.image.shape[1]
    reach, hem = width * rng.uniform(0.1, 0.25), line * rng.uniform(0.75, 1.05)
    points = [(-9, -9), (reach, -9), (reach * rng.uniform(0.6, 1.2), 0.6 * hem), (reach * rng.uniform(0.8, 1.3), hem)]
    outline = np.array([*points, (-9, hem)])
    if rng.random() < 0.5:
        outline[:, 0] = width - outline[:, 0]
    canvas.paint([outline], _cloth(canvas, rng, 2.0))


def _chair(canvas: Canvas, rng: np.random.Generator, line: float) -> None:
    u = canvas.unit * rng.uniform(0.8, 1.2)
    x, y, wood = _aside(canvas, rng), line + rng.uniform(12, 30) * canvas.unit, dye(rng, 0.6) * 0.6
    seat = y - 42 * u
    for across in (-20, 20):
        canvas.paint([tube([(x + across * u, seat), (x + 1.15 * across * u, y)], [5 * u, 4 * u])], wood)
    cloth = _cloth(canvas, rng, 0.8)
    back = np.array([(-22, 0), (-24, -55), (0, -61), (24, -55), (22, 0)]) * u + (x, seat)
    canvas.paint([back], cloth)
    canvas.paint([box(x - 27 * u, seat - 6 * u, x + 27 * u, seat + 7 * u)], cloth * 0.9)


def _cushion(canvas: Canvas, rng: np.random.Generator, line: float) -> None:
    u = canvas.unit * rng.uniform(0.7, 1.3)
    x, y = _aside(canvas, rng), line + rng.uniform(0, 25) * canvas.unit
    points = np.array([(-20, -14), (0, -16), (20, -14), (21, 0), (20, 14), (0, 13), (-20, 14), (-21, 0)]) * u
    canvas.paint([smooth(points + (x, y))], _cloth(canvas, rng, 0.6))


def _frame(canvas: Canvas, rng: np.random.Generator, line: float) -> None:
    u = canvas.unit
    x, y, half, tall = _aside(canvas, rng), line * rng.uniform(0.15, 0.45), rng.uniform(12, 28) * u, rng.uniform(14, 34) * u
    canvas.paint([box(x - half - 3 * u, y - tall - 3 * u, x + half + 3 * u, y + tall + 3 * u)], dye(rng, 0.5) * 0.7)
    canvas.paint([box(x - half, y - tall, x + half, y + tall)], _cloth(canvas, rng, 1.5), shadow=0)


def _carton(canvas: Canvas, rng: np.random.Generator, line: float) -> None:
    u = canvas.unit * rng.uniform(0.7, 1.3)
    x, y, colour = _aside(canvas, rng), line + rng.uniform(5, 30) * canvas.unit, dye(rng, 0.8)
    canvas.paint([box(x - 18 * u, y - 28 * u, x + 18 * u, y)], colour, relief=0.15)
    canvas.paint([box(x - 20 * u, y - 34 * u, x + 20 * u, y - 26 * u)], colour * 0.8, relief=0.15)


def _towel(canvas: Canvas, rng: np.random.Generator, line: float) -> None:
    """A cloth on a hook: much like a skirt that nobody wears."""
    u = canvas.unit * rng.uniform(0.8, 1.2)
    x, y, wide, long = _aside(canvas, rng), line * rng.uniform(0.2, 0.5), rng.uniform(10, 22) * u, rng.uniform(40, 75) * u
    points = np.array([(-0.2, 0), (0.2, 0), (1, 0.5), (0.9, 1), (-1, 0.95), (-0.9, 0.5)]) * (wide, long) + (x, y)
    canvas.paint([smooth(points)], _cloth(canvas, rng, 1.5))


def _lamp(canvas: Canvas, rng: np.random.Generator, line: float) -> None:
    u = canvas.unit
    x, foot, top = _aside(canvas, rng), line + rng.uniform(5, 20) * u, line * rng.uniform(0.2, 0.4)
    canvas.paint([tube([(x, top), (x, foot)], [3 * u, 3 * u]), ellipse(x, foot, 14 * u, 4 * u)], np.full(3, 0.2))
    shade = [(x - 9 * u, top - 26 * u), (x + 9 * u, top - 26 * u), (x + 19 * u, top + 4 * u), (x - 19 * u, top + 4 * u)]
    canvas.paint([np.array(shade)], np.clip(dye(rng, 0.4) + 0.3, 0, 1))


def _studs(canvas: Canvas, rng: np.random.Generator, line: float) -> None:
    """A switch or two on the wall: bright little frames, no buckles."""
    u = canvas.unit
    for _ in range(int(rng.integers(1, 4))):
        x, y, half = _aside(canvas, rng), line * rng.uniform(0.3, 0.9), rng.uniform(3.5, 5.5) * u
        canvas.paint([box(x - half, y - half, x + half, y + half)], np.full(3, 0.9), shadow=0.4)
        canvas.paint([box(x - 0.4 * half, y - 0.5 * half, x + 0.4 * half, y + 0.5 * half)], np.full(3, 0.6), shadow=0)
