"""One fashion picture: a room, its figures, their garments; a function of (seed, index, size)."""

from dataclasses import dataclass

import cv2
import numpy as np

from ppdet_ext.data.synthetic.noise import grain

from . import garments
from .bags import bag
from .canvas import Canvas, Instance, coverage
from .figure import SIDES, make_figure, paint_arm, paint_body, paint_head
from .garments import Tailor
from .recipe import Outfit, figures_of, make_outfit
from .scene import furnish, make_room
from .shapes import ellipse

# Parts of a mask, and instances, with fewer pixels (at 256 lines) than this are what nobody would outline.
SPECK, LEAST = 8, 16


@dataclass(frozen=True)
class Picture:
    """image: (h, w, 3) uint8 RGB. instances: what an annotator outlines; masks of different instances may overlap."""

    image: np.ndarray
    instances: list[Instance]


def make_picture(seed: int, index: int, height: int = 256, width: int = 192) -> Picture:
    """Picture `index` of the set `seed`, its size around height × width; the same arguments give the same pixels."""
    rng = np.random.default_rng([seed, index, 2])
    count = figures_of(seed, index)
    rows = round(height * rng.uniform(0.875, 1.25))
    cols = round(rows * width / height * rng.uniform(0.92, 1.08) * (1.2 if count > 1 else 1.0))
    canvas, line = make_room(rng, rows, cols)
    furnish(canvas, rng, line, int(rng.integers(1, 4)) + (count == 0))
    places = {0: [], 1: [rng.uniform(0.4, 0.6)], 2: [rng.uniform(0.24, 0.31), rng.uniform(0.69, 0.76)]}[count]
    for place in rng.permutation(places):
        foot = (place * cols, rows * rng.uniform(0.92, 0.985))
        dress_up(canvas, rng, foot, rows * rng.uniform(0.8, 0.92) * (0.92 if count > 1 else 1.0))
    return Picture(_expose(rng, canvas.image), _outlined(canvas))


def dress_up(canvas: Canvas, rng: np.random.Generator, foot: tuple[float, float], size: float) -> None:
    """Paint one figure in an outfit, from what lies behind to what lies in front."""
    figure, outfit = make_figure(rng, foot, size), make_outfit(rng)
    tailor = Tailor(canvas, figure, rng)
    ground = coverage([ellipse(foot[0] + 0.03 * size, foot[1], 0.19 * size, 0.028 * size)], *canvas.image.shape[:2])
    canvas.image *= 1 - 0.4 * cv2.GaussianBlur(ground, (0, 0), 4 * canvas.unit)[..., None]
    paint_body(canvas, figure)
    garments.shoes(tailor)
    top, cloth = _upper_and_lower(tailor, outfit)
    coat, coat_cloth = garments.jacket(tailor) if outfit.jacket else (None, None)
    for side in SIDES:
        paint_arm(canvas, figure, side)
        if coat is not None and coat_cloth is not None:
            garments.sleeve(tailor, side, coat_cloth, coat, 0.95, 0.074)
        elif outfit.sleeves:
            garments.sleeve(tailor, side, cloth, top, 0.93 if outfit.sleeves == "long" else 0.4, 0.066)
    if outfit.collar:
        garments.collar(tailor, cloth, top)
    paint_head(canvas, figure, rng)
    if outfit.bag:
        bag(tailor, outfit.bag)


def _upper_and_lower(tailor: Tailor, outfit: Outfit) -> tuple[Instance, np.ndarray]:
    """Paint dress, or shirt and trousers or skirt in the right order, and the belt; returns the top and its cloth."""
    if outfit.top == "dress":
        top, cloth = garments.dress(tailor, outfit)
        if outfit.belt:
            garments.belt(tailor, top)
        return top, cloth
    lower = garments.trousers if outfit.bottom == "trousers" else garments.skirt
    if outfit.tucked:
        top, cloth = garments.shirt(tailor, outfit)
        bottom = lower(tailor)
        if outfit.belt:
            garments.belt(tailor, bottom)
        return top, cloth
    lower(tailor)
    return garments.shirt(tailor, outfit)


def _outlined(canvas: Canvas) -> list[Instance]:
    """The instances without specks, in order of their classes; those hidden but for a few pixels are left out."""
    found = []
    for item in canvas.instances:
        _, parts, stats, _ = cv2.connectedComponentsWithStats(item.mask.astype(np.uint8), connectivity=8)
        areas = stats[:, cv2.CC_STAT_AREA]
        areas[0] = 0
        mask = (areas >= SPECK * canvas.unit**2)[parts]
        if mask.sum() >= LEAST * canvas.unit**2:
            found.append(Instance(item.class_id, item.attributes, mask))
    return sorted(found, key=lambda item: item.class_id)


def _expose(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """What the camera stores: a little blur and grain."""
    soft = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.7))
    height, width = image.shape[:2]
    noise = np.stack([grain(rng, height, width, 0.6) for _ in range(3)], 2)
    stored = 255 * soft * rng.uniform(0.85, 1.1) + rng.uniform(1.5, 4) * noise
    return np.clip(np.rint(stored), 0, 255).astype(np.uint8)
