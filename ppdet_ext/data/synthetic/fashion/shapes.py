"""Outlines: closed curves and tubes as (n, 2) float arrays of x, y."""

from collections.abc import Sequence

import numpy as np

Points = Sequence[tuple[float, float]] | np.ndarray


def smooth(points: Points, closed: bool = True, steps: int = 6) -> np.ndarray:
    """A Catmull-Rom curve through the points, with `steps` points from one to the next."""
    knots = np.asarray(points, float)
    ends = (knots[-1:], knots[:2]) if closed else (2 * knots[:1] - knots[1:2], 2 * knots[-1:] - knots[-2:-1])
    around = np.concatenate((ends[0], knots, ends[1]))
    if not closed:
        around = np.concatenate((around, ends[1]))
    t = np.arange(steps)[None, :, None] / steps
    a, b, c, d = (around[i : len(around) - 3 + i, None] for i in range(4))
    curve = b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a)))
    curve = curve[: len(knots) if closed else len(knots) - 1].reshape(-1, 2)
    return curve if closed else np.concatenate((curve, knots[-1:]))


def tube(points: Points, widths: Sequence[float] | np.ndarray) -> np.ndarray:
    """The outline around a smooth line through `points`, as wide (diameter) as `widths` says at each of them."""
    line = smooth(points, closed=False)
    half = np.interp(np.linspace(0, len(widths) - 1, len(line)), np.arange(len(widths)), widths) / 2
    along = np.gradient(line, axis=0)
    along /= np.maximum(np.linalg.norm(along, axis=1, keepdims=True), 1e-9)
    side = np.stack((-along[:, 1], along[:, 0]), 1) * half[:, None]
    return np.concatenate((line + side, (line - side)[::-1]))


def ellipse(x: float, y: float, rx: float, ry: float, turn: float = 0.0) -> np.ndarray:
    """An ellipse around (x, y), turned by `turn` radians."""
    angles = np.arange(32) * (2 * np.pi / 32)
    points = np.stack((rx * np.cos(angles), ry * np.sin(angles)), 1)
    return points @ np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]]) + (x, y)


def box(left: float, top: float, right: float, bottom: float) -> np.ndarray:
    """A rectangle."""
    return np.array([(left, top), (right, top), (right, bottom), (left, bottom)], float)


def mirrored(points: Points) -> np.ndarray:
    """The points, then their mirror images at x = 0 in reverse: a symmetric outline from its right half."""
    half = np.asarray(points, float)
    return np.concatenate((half, half[::-1] * (-1, 1)))
