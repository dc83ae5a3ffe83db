"""Garments on a figure: each paints itself and returns its instance, in pixels of the figure's measure."""

from dataclasses import dataclass

import numpy as np

from . import labels
from .canvas import Canvas, Instance
from .cloth import Cloth, make_cloth, render
from .figure import SIDES, Figure
from .recipe import Outfit
from .shapes import ellipse, mirrored, smooth, tube

BELT = (0.452, 0.484)


@dataclass(frozen=True)
class Tailor:
    """What a garment is painted with."""

    canvas: Canvas
    figure: Figure
    rng: np.random.Generator

    def cloth(self, vivid: bool = True) -> tuple[Cloth, np.ndarray]:
        """A new cloth, and it over the whole picture (h, w, 3)."""
        cloth = make_cloth(self.rng, self.canvas.unit * max(0.8, self.figure.size / (220 * self.canvas.unit)))
        height, width = self.canvas.image.shape[:2]
        return cloth, render(self.rng, cloth, height, width, self.canvas.unit, 1.0 if vivid else 0.5)

    def tube(self, joints: np.ndarray, widths: tuple[float, ...]) -> np.ndarray:
        """The outline around joints, its widths in the figure's measure."""
        return tube(self.figure(joints), np.array(widths) * self.figure.size * self.figure.broad)

    def symmetric(self, points: list[tuple[float, float]]) -> np.ndarray:
        """A smooth outline from its right half."""
        return self.figure(smooth(mirrored(points)))


def along(joints: np.ndarray, share: float) -> np.ndarray:
    """The first part of a limb's joints (3, 2): up to `share` of it, 0.5 is its middle joint."""
    if share <= 0.5:
        return np.array([joints[0], joints[0] + 2 * share * (joints[1] - joints[0])])
    return np.array([joints[0], joints[1], joints[1] + (2 * share - 1) * (joints[2] - joints[1])])


def shoes(tailor: Tailor) -> None:
    """Two instances of the same make, the toes turned outwards."""
    colour = tailor.cloth()[0].colours[0] * 0.8
    boot = tailor.rng.random() < 0.3
    for side in SIDES:
        x, y = tailor.figure.legs[side][2]
        toe = side * tailor.rng.uniform(0.03, 0.05)
        outline = [(x - side * 0.032, y - 0.012), (x + side * 0.028, y - 0.014), (x + toe + side * 0.032, y + 0.03)]
        outline += [(x + toe + side * 0.026, y + 0.05), (x - side * 0.03, y + 0.05), (x - side * 0.04, y + 0.02)]
        parts = [tailor.figure(smooth(outline))]
        if boot:
            shaft = tailor.figure.legs[side][1:] * [[0.45], [0.55]]
            parts.append(tailor.tube(np.array([shaft.sum(0), (x, y + 0.02)]), (0.066, 0.066)))
        tailor.canvas.paint(parts, colour, [tailor.canvas.add(labels.SHOE)], shadow=0.35)


def trousers(tailor: Tailor) -> Instance:
    """Two legs, painted one after the other so that a shadow parts them, and the hips."""
    cloth, image = tailor.cloth()
    item = tailor.canvas.add(labels.TROUSERS, [cloth.pattern])
    reach = 1.0 if tailor.rng.random() < 0.75 else tailor.rng.uniform(0.45, 0.6)
    flare = tailor.rng.uniform(0.066, 0.1)
    for side in SIDES:
        leg = along(tailor.figure.legs[side], reach)
        widths = np.interp(np.linspace(0, reach, len(leg)), [0, 0.5, 1], [0.112, 0.09, flare])
        tailor.canvas.paint([tailor.tube(leg, tuple(widths))], image, [item], shadow=0.35)
    hips = [(0.09, 0.445), (0.102, 0.49), (0.112, 0.54), (0.1, 0.575), (0.03, 0.575), (0.0, 0.56)]
    tailor.canvas.paint([tailor.symmetric(hips)], image, [item], shadow=0, relief=0.12)
    return item


def skirt(tailor: Tailor, top: float = 0.445) -> Instance:
    """From the waist to above the knees, or below."""
    cloth, image = tailor.cloth()
    mini = tailor.rng.random() < 0.5
    item = tailor.canvas.add(labels.SKIRT, [cloth.pattern, labels.MINI if mini else labels.MIDI])
    tailor.canvas.paint([_skirt_outline(tailor, top, mini)], image, [item])
    return item


def _skirt_outline(tailor: Tailor, top: float, mini: bool) -> np.ndarray:
    hem = tailor.rng.uniform(0.65, 0.71) if mini else tailor.rng.uniform(0.77, 0.85)
    flare = tailor.rng.uniform(0.12, 0.2)
    side = [(0.086, top), (0.103, 0.5), (0.114 + 0.3 * (flare - 0.12), 0.56), (flare, hem - 0.01)]
    return tailor.symmetric([*side, (0.6 * flare, hem + 0.006), (0.25 * flare, hem + 0.003)])


def shirt(tailor: Tailor, outfit: Outfit) -> tuple[Instance, np.ndarray]:
    """The trunk of a shirt, and its cloth for what belongs to it."""
    cloth, image = tailor.cloth()
    item = tailor.canvas.add(labels.SHIRT, [cloth.pattern, _sleeve_attribute(outfit)])
    hem, wide = (0.475, 0.1) if outfit.tucked else (tailor.rng.uniform(0.53, 0.59), 0.122)
    tailor.canvas.paint([_trunk(tailor, [(0.094, 0.42), (wide, 0.5), (wide, hem - 0.01), (0.06, hem)])], image, [item])
    _buttons(tailor, hem)
    return item, image


def dress(tailor: Tailor, outfit: Outfit) -> tuple[Instance, np.ndarray]:
    """Trunk and skirt of one cloth."""
    cloth, image = tailor.cloth()
    mini = tailor.rng.random() < 0.4
    length = labels.MINI if mini else labels.MIDI
    item = tailor.canvas.add(labels.DRESS, [cloth.pattern, _sleeve_attribute(outfit), length])
    trunk = _trunk(tailor, [(0.088, 0.43), (0.098, 0.48), (0.06, 0.5)])
    tailor.canvas.paint([trunk, _skirt_outline(tailor, 0.44, mini)], image, [item])
    return item, image


def _trunk(tailor: Tailor, lower: list[tuple[float, float]]) -> np.ndarray:
    neck = tailor.rng.uniform(0.205, 0.235)
    return tailor.symmetric([(0.0, neck), (0.036, 0.188), (0.08, 0.193), (0.126, 0.215), (0.113, 0.3), *lower])


def _sleeve_attribute(outfit: Outfit) -> int:
    return {"": labels.SLEEVELESS, "short": labels.SHORT_SLEEVE, "long": labels.LONG_SLEEVE}[outfit.sleeves]


def _buttons(tailor: Tailor, hem: float) -> None:
    """A row of unlabelled dots on some shirts; they belong to whatever is below them."""
    if tailor.rng.random() < 0.4:
        colour = np.full(3, tailor.rng.choice([0.1, 0.95]))
        for y in np.arange(0.26, hem - 0.02, 0.045):
            x, y = tailor.figure([(0, float(y))])[0]
            tailor.canvas.dot(x, y, 0.0055 * tailor.figure.size, colour)


def sleeve(tailor: Tailor, side: int, image: np.ndarray, garment: Instance, share: float, width: float) -> None:
    """A sleeve over `share` of the arm: an instance of its own whose pixels are the garment's too."""
    arm = along(tailor.figure.arms[side], share)
    widths = np.interp(np.linspace(0, share, len(arm)), [0, 0.5, 1], [width + 0.008, width, 0.8 * width])
    (x, y), radius = tailor.figure(arm[:1])[0], 0.5 * widths[0] * tailor.figure.size * tailor.figure.broad
    outlines = [tailor.tube(arm, tuple(widths)), ellipse(x, y, radius, radius)]
    tailor.canvas.paint(outlines, image, [garment, tailor.canvas.add(labels.SLEEVE)], shadow=0.35, relief=0.32)


def jacket(tailor: Tailor) -> tuple[Instance, np.ndarray]:
    """Two fronts that leave the middle open, with lapels."""
    cloth, image = tailor.cloth(vivid=False)
    item = tailor.canvas.add(labels.JACKET, [cloth.pattern, labels.LONG_SLEEVE])
    hem = tailor.rng.uniform(0.5, 0.62) if tailor.rng.random() < 0.75 else tailor.rng.uniform(0.68, 0.78)
    gap, wide = tailor.rng.uniform(0.028, 0.055), 0.122 + 0.1 * max(0.0, hem - 0.55)
    for side in SIDES:
        front = [(0.032, 0.178), (0.08, 0.187), (0.134, 0.213), (0.122, 0.3), (0.106, 0.43), (wide, hem - 0.008)]
        front += [(0.5 * (wide + gap), hem + 0.004), (gap + 0.006, hem), (gap, 0.45), (gap - 0.008, 0.32)]
        tailor.canvas.paint([tailor.figure(smooth([(side * x, y) for x, y in front]))], image, [item], shadow=0.4)
        lapel = [(0.03, 0.182), (0.056, 0.2), (0.07, 0.27), (gap + 0.006, 0.36), (gap - 0.008, 0.3)]
        outline = tailor.figure([(side * x, y) for x, y in lapel])
        tailor.canvas.paint([outline], image * 0.82, [item], shadow=0.15, relief=0.15)
    return item, image


def collar(tailor: Tailor, image: np.ndarray, garment: Instance) -> None:
    """Two leaves at the neck, one instance, part of the garment."""
    item = tailor.canvas.add(labels.COLLAR)
    own = tailor.rng.random() < 0.5
    colour = np.full(3, tailor.rng.uniform(0.82, 0.97)) if own else np.clip(image * 1.2 + 0.05, 0, 1)
    for side in SIDES:
        leaf = [(0.0, 0.212), (0.034, 0.17), (0.052, 0.187), (0.066, 0.222), (0.03, 0.252)]
        outline = tailor.figure([(side * x, y) for x, y in leaf])
        tailor.canvas.paint([outline], colour, [garment, item], shadow=0.3, relief=0.1)


def belt(tailor: Tailor, garment: Instance) -> None:
    """A belt, part of the garment it holds, with a metal buckle."""
    leather = np.array([(0.12, 0.09, 0.07), (0.36, 0.22, 0.12), (0.6, 0.42, 0.25), (0.85, 0.84, 0.8)][tailor.rng.integers(4)])
    high, low = BELT
    band = tailor.figure(mirrored([(0.094, high), (0.098, low)]))
    tailor.canvas.paint([band], leather, [garment], shadow=0.2, relief=0.1)
    buckle(tailor, (tailor.rng.normal(0, 0.004), 0.5 * (high + low)), [garment])


def buckle(tailor: Tailor, place: tuple[float, float], owners: list[Instance]) -> None:
    """A bright metal frame around a dark middle."""
    metal = np.array([(0.95, 0.83, 0.42), (0.92, 0.93, 0.95)][tailor.rng.integers(2)])
    (x, y), half = tailor.figure([place])[0], tailor.figure.size * tailor.rng.uniform(0.016, 0.026)
    tall = half * tailor.rng.uniform(0.8, 1.1)
    item = tailor.canvas.add(labels.BUCKLE)
    frame = np.array([(-half, -tall), (half, -tall), (half, tall), (-half, tall)]) + (x, y)
    tailor.canvas.paint([frame], metal, [*owners, item], shadow=0.5, relief=0.3)
    tailor.canvas.paint([(frame - (x, y)) * 0.45 + (x, y)], metal * 0.3, [*owners, item], shadow=0, relief=0)
