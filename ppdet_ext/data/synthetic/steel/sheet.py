"""One sample sheet: background, defects that do not touch, exposure; a function of (seed, index, size)."""

from dataclasses import dataclass

import cv2
import numpy as np

from .background import camera_noise, expose, make_background
from .defects import MAKERS, Stamp, largest_component
from .recipe import classes_of, count_of

# Defects keep this distance (pixels at 256 lines): two that touch would be one 8-connected instance.
GAP = 9.0
TRIES = 60


@dataclass(frozen=True)
class Sheet:
    """A generated sheet and the truth about it.

    image: (h, w) uint8 grey. clean: the same sheet, light and camera grain without its defects, so that
    image − clean is what the defects did. labels: (h, w) uint8, class id 1–4 of each defective pixel, 0
    elsewhere; instances of a class are its 8-connected components.
    """

    image: np.ndarray
    clean: np.ndarray
    labels: np.ndarray


def make_sheet(seed: int, index: int, height: int = 256, width: int = 1600) -> Sheet:
    """Sheet `index` of the set `seed`; the same arguments give the same pixels, whatever was made before."""
    rng = np.random.default_rng([seed, index])
    background = make_background(rng, height, width)
    labels = np.zeros((height, width), np.uint8)
    change = np.zeros((height, width), np.float32)
    # Free pixels: steel that no defect claims. Shrinks as defects are placed.
    free = background.steel.copy()
    # Largest kinds first: a patch finds no room among scattered pits, while pits fit beside a patch.
    for class_id in sorted(classes_of(seed, index), reverse=True):
        for number in range(count_of(rng, class_id, height, width)):
            _place(rng, class_id, labels, change, free, required=number == 0)
    noise = camera_noise(rng, height, width)
    # Defects change the light relative to the level around them, so the fine texture shows through.
    level = cv2.blur(background.light, (15, 15), borderType=cv2.BORDER_REFLECT_101)
    marked = np.maximum(background.light + change * (0.35 * background.light + 0.65 * level), 0)
    return Sheet(expose(marked, noise), expose(background.light, noise), labels)


def _place(
    rng: np.random.Generator,
    class_id: int,
    labels: np.ndarray,
    change: np.ndarray,
    free: np.ndarray,
    required: bool,
) -> None:
    """Draw one defect of a class into `labels` and `change` where `free` allows; smaller if there is no room.

    A defect that is not required is left out when it does not fit; a required one shrinks until it does.
    """
    height, width = labels.shape
    scale = height / 256
    for attempt in range(TRIES * 4 if required else TRIES):
        if attempt % 12 == 0:
            stamp = MAKERS[class_id](rng, scale * 0.88 ** (attempt // 12))
        view, visible = _position(rng, stamp, height, width)
        enough = visible.mask.sum() >= 0.6 * stamp.mask.sum() > 0
        if enough and free[view][visible.mask].all():
            labels[view][visible.mask] = class_id
            change[view] += visible.change
            _claim(free, view, visible.mask, max(2, round(GAP * scale)))
            return


def _position(rng: np.random.Generator, stamp: Stamp, height: int, width: int) -> tuple[tuple[slice, slice], Stamp]:
    """A window of the sheet and the part of the stamp in it: a defect may run out at the top or bottom."""
    rows, cols = stamp.mask.shape
    top = int(rng.integers(-rows // 4, max(1, height - 3 * rows // 4)))
    left = int(rng.integers(0, max(1, width - cols + 1)))
    first, last = max(0, -top), min(rows, height - top)
    cols = min(cols, width - left)
    mask = largest_component(stamp.mask[first:last, :cols])
    return np.s_[top + first : top + last, left : left + cols], Stamp(mask, stamp.change[first:last, :cols])


def _claim(free: np.ndarray, view: tuple[slice, slice], mask: np.ndarray, gap: int) -> None:
    """Mark `mask` at `view`, grown by `gap` pixels, as taken in `free` (h, w)."""
    taken = np.zeros(free.shape, np.uint8)
    taken[view] = mask
    free &= cv2.dilate(taken, np.ones((2 * gap + 1, 2 * gap + 1), np.uint8)) == 0
