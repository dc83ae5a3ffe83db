"""A picture that is painted layer over layer, and the masks of what is still to be seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from .shapes import ellipse

# Outlines are filled on a raster this many times finer, so that edges come out smooth.
FINE = 3


@dataclass
class Instance:
    """A labelled object: contiguous class id, attribute ids, and its visible pixels (h, w) bool."""

    class_id: int
    attributes: tuple[int, ...]
    mask: np.ndarray


def coverage(outlines: Sequence[np.ndarray], height: int, width: int) -> np.ndarray:
    """Which share (h, w) float32, 0–1, of each pixel lies in one of the outlines (n, 2) x, y; pixel i spans [i, i + 1)."""
    fine = np.zeros((height * FINE, width * FINE), np.uint8)
    for outline in outlines:
        # OpenCV counts from pixel centres; four bits after the point.
        points = np.rint((np.asarray(outline) * FINE - 0.5) * 16).astype(np.int32)
        cv2.fillPoly(fine, [points], 255, cv2.LINE_8, 4)
    return cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA).astype(np.float32) / 255


class Canvas:
    """image: (h, w, 3) float32 RGB, 0–1, changed in place. unit: pixels of what is one pixel in a picture 256 high."""

    def __init__(self, image: np.ndarray, unit: float) -> None:
        self.image = image
        self.unit = unit
        self.instances: list[Instance] = []

    def add(self, class_id: int, attributes: Sequence[int] = ()) -> Instance:
        """A new instance without pixels; they come as it is painted."""
        self.instances.append(Instance(class_id, tuple(sorted(attributes)), np.zeros(self.image.shape[:2], bool)))
        return self.instances[-1]

    def paint(
        self,
        outlines: Sequence[np.ndarray],
        colour: np.ndarray,
        owners: Sequence[Instance] = (),
        *,
        shadow: float = 0.3,
        relief: float = 0.25,
    ) -> None:
        """Fill the union of outlines with `colour`, (3,) or (h, w, 3); it belongs to `owners` and hides all others.

        shadow: how much it darkens what lies behind it, nearby. relief: how much its rim is shaded.
        """
        alpha = coverage(outlines, *self.image.shape[:2])
        self._cast(alpha, shadow)
        shade = 1 + relief * _rims(alpha, 3.0 * self.unit)
        self.image += alpha[..., None] * (np.clip(colour * shade[..., None], 0, 1) - self.image)
        covered = alpha >= 0.5
        for item in self.instances:
            if any(item is owner for owner in owners):
                item.mask |= covered
            else:
                item.mask &= ~covered

    def dot(self, x: float, y: float, radius: float, colour: np.ndarray) -> None:
        """A small mark on the surface at (x, y): it hides no instance."""
        alpha = coverage([ellipse(x, y, radius, radius)], *self.image.shape[:2])[..., None]
        self.image += alpha * (colour - self.image)

    def _cast(self, alpha: np.ndarray, strength: float) -> None:
        """Darken below and to the right of a layer, where it hides the light of a lamp at the upper left."""
        if strength > 0:
            move = np.array([[1, 0, 1.5 * self.unit], [0, 1, 2.0 * self.unit]], np.float32)
            moved = cv2.warpAffine(alpha, move, alpha.shape[::-1])
            self.image *= 1 - strength * cv2.GaussianBlur(moved, (0, 0), 2.5 * self.unit)[..., None]


def _rims(alpha: np.ndarray, sigma: float) -> np.ndarray:
    """(h, w) shading of a rounded body: lit at its left rim, dark at its right and lower rims, 0 in its middle."""
    soft = cv2.GaussianBlur(alpha, (0, 0), sigma)
    across = cv2.Sobel(soft, cv2.CV_32F, 1, 0, ksize=3) / 8 * sigma * 2.5
    down = cv2.Sobel(soft, cv2.CV_32F, 0, 1, ksize=3) / 8 * sigma * 2.5
    return 1.6 * across + 0.6 * down - 0.9 * (1 - soft)
