"""Brighter or darker, with more or less contrast."""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.registry import number_in, register_transform

from .sample import Sample


@register_transform
class BrightnessContrast:
    """Scale all pixels about black, and shift them by a share of the scaled image's mean.

    `RandomBrightnessContrast` as albumentations 0.2 had it, when the winner of iMaterialist (Fashion) 2019 used it:
    pixel * (1 + c) + b * mean * (1 + c). Later versions shift by a share of 255. `JitterColor` scales about the mean.

    Args:
        brightness: b is drawn evenly from -brightness … brightness; 0 or more.
        contrast: c is drawn evenly from -contrast … contrast; 0 to 1.
        probability: of changing the image at all.

    Raises: UserError naming the argument that is out of range.
    """

    def __init__(self, brightness: float = 0.3, contrast: float = 0.3, probability: float = 0.5):
        self.brightness = number_in(brightness, "BrightnessContrast.brightness", 0)
        self.contrast = number_in(contrast, "BrightnessContrast.contrast", 0, 1)
        self.probability = number_in(probability, "BrightnessContrast.probability", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        chance = rng.random()
        shift, contrast = rng.uniform(-1, 1, 2) * (self.brightness, self.contrast)
        if chance >= self.probability:
            return sample
        table = (1 + contrast) * (np.arange(256) + shift * sample.image.mean())
        return replace(sample, image=cv2.LUT(sample.image, np.clip(np.rint(table), 0, 255).astype(np.uint8)))
