"""Blurred, sharpened, or with contrast evened out: the picture changes, annotations stay as they are."""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.registry import number_in, register_transform, whole_number_in

from .sample import Sample


@register_transform
class GaussianBlur:
    """Blur with a Gaussian (`GaussianBlur` of albumentations 0.4), whose deviation is OpenCV's for the kernel: 0.3·k/2 + 0.35.

    Args:
        kernel: largest side of it in pixels, odd, 3 or more; the side is drawn evenly from the odd numbers from 3 on.
        probability: of changing the image at all.

    Raises: UserError naming the argument that is out of range.
    """

    def __init__(self, kernel: int = 3, probability: float = 0.5):
        self.kernel = whole_number_in(kernel, "GaussianBlur.kernel", 3)
        if kernel % 2 == 0:
            raise UserError(f"GaussianBlur.kernel: {kernel} is even; a kernel has a middle, so take {kernel + 1}.")
        self.probability = number_in(probability, "GaussianBlur.probability", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        chance, place = rng.random(2)
        if chance >= self.probability:
            return sample
        side = 3 + 2 * int(place * (self.kernel - 1) / 2)
        return replace(sample, image=cv2.GaussianBlur(sample.image, (side, side), 0))


@register_transform
class Sharpen:
    """Mix the picture with a sharpened one: (1 - a) · picture + a · (picture · (8 + l) - its eight neighbours).

    `IAASharpen` of albumentations 0.4, with its ranges as defaults; `l` of 1 keeps the brightness.

    Args:
        alpha: `a` is drawn evenly between these two, 0 to 1.
        lightness: `l` is drawn evenly between these two, 0 or more.
        probability: of changing the image at all.

    Raises: UserError naming the argument that is out of range.
    """

    def __init__(
        self, alpha: tuple[float, float] = (0.2, 0.5), lightness: tuple[float, float] = (0.5, 1.0), probability: float = 0.5
    ):
        self.alpha = _span(alpha, "Sharpen.alpha", 0, 1)
        self.lightness = _span(lightness, "Sharpen.lightness", 0)
        self.probability = number_in(probability, "Sharpen.probability", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        chance, *places = rng.random(3)
        if chance >= self.probability:
            return sample
        alpha, lightness = (low + place * (high - low) for place, (low, high) in zip(places, (self.alpha, self.lightness)))
        kernel = np.full((3, 3), -alpha)
        kernel[1, 1] = (1 - alpha) + alpha * (8 + lightness)
        return replace(sample, image=cv2.filter2D(sample.image, -1, kernel))


@register_transform
class CLAHE:
    """Even out the contrast, tile by tile, up to a limit: adaptive histogram equalization of the lightness.

    `CLAHE` of albumentations 0.4, with its defaults: of L in Lab, over 8 x 8 tiles.

    Args:
        clip_limit: drawn evenly between these two, 1 or more; 1 changes next to nothing.
        tiles: along each side.
        probability: of changing the image at all.

    Raises: UserError naming the argument that is out of range.
    """

    def __init__(self, clip_limit: tuple[float, float] = (1.0, 4.0), tiles: int = 8, probability: float = 0.5):
        self.clip_limit = _span(clip_limit, "CLAHE.clip_limit", 1)
        self.tiles = whole_number_in(tiles, "CLAHE.tiles", 1)
        self.probability = number_in(probability, "CLAHE.probability", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        chance, place = rng.random(2)
        if chance >= self.probability:
            return sample
        low, high = self.clip_limit
        lab = cv2.cvtColor(sample.image, cv2.COLOR_RGB2LAB)
        lab[..., 0] = cv2.createCLAHE(low + place * (high - low), (self.tiles, self.tiles)).apply(lab[..., 0])
        return replace(sample, image=cv2.cvtColor(lab, cv2.COLOR_LAB2RGB))


def _span(pair: tuple[float, float], key: str, low: float, high: float = float("inf")) -> tuple[float, float]:
    """Two numbers in order. Raises: UserError beginning with `key`."""
    if len(pair) != 2:
        raise UserError(f"{key}: {list(pair)} are not two numbers, the least and the most.")
    least, most = (number_in(value, key, low, high) for value in pair)
    if least > most:
        raise UserError(f"{key}: {least} is above {most}.")
    return least, most
