"""Bags: in a hand, or at a strap from the shoulder."""

import numpy as np

from . import labels
from .figure import SIDES
from .garments import Tailor, buckle
from .shapes import smooth, tube


def bag(tailor: Tailor, way: str) -> None:
    """A bag in front of everything else; `way`: 'hand' or 'shoulder'. A third have a buckle."""
    _, image = tailor.cloth(vivid=False)
    item = tailor.canvas.add(labels.BAG)
    side = SIDES[tailor.rng.integers(2)]
    half, deep = tailor.rng.uniform(0.07, 0.1), tailor.rng.uniform(0.1, 0.15)
    x, y = _hang(tailor, way, side)
    thin = 0.014 * tailor.figure.size
    if way == "hand":
        handle = [(x - 0.6 * half, y + 0.05), (x - 0.35 * half, y), (x + 0.35 * half, y), (x + 0.6 * half, y + 0.05)]
        straps = [tube(tailor.figure(handle), [thin] * 4)]
    else:
        straps = [tube(tailor.figure([(-side * 0.08, 0.195), (side * 0.02, 0.36), (x, y + 0.05)]), [thin] * 3)]
    top = y + 0.035
    body = np.array([(-0.85, 0), (0, -0.03), (0.85, 0), (1, 0.5), (0.95, 1), (0, 1.05), (-0.95, 1), (-1, 0.5)])
    body = body * (half, deep) + (x, top)
    tailor.canvas.paint(straps, image * 0.75, [item], shadow=0.3, relief=0.1)
    tailor.canvas.paint([tailor.figure(smooth(body))], image, [item], shadow=0.4)
    flap = np.array([(-0.85, 0), (0.85, 0), (0.8, 0.4), (0, 0.5), (-0.8, 0.4)]) * (half, deep) + (x, top)
    tailor.canvas.paint([tailor.figure(flap)], image * 0.88, [item], shadow=0.25, relief=0.1)
    if tailor.rng.random() < 0.35:
        buckle(tailor, (x, top + 0.47 * deep), [item])


def _hang(tailor: Tailor, way: str, side: int) -> tuple[float, float]:
    """Where the bag's upper edge is, in the figure's measure."""
    if way == "hand":
        arm = tailor.figure.arms[side]
        x, y = arm[2] + 0.25 * (arm[2] - arm[1])
        return float(x), float(y) - 0.005
    return side * float(np.clip(tailor.rng.normal(0.125, 0.012), 0.1, 0.15)), tailor.rng.uniform(0.46, 0.52)
