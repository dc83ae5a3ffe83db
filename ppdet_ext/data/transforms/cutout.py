"""Covering parts of the picture, so that a network does not come to rely on a single detail."""

from dataclasses import replace

import numpy as np

from ppdet_ext.registry import number_in, register_transform, whole_number_in

from .sample import Sample


@register_transform
class Cutout:
    """Blacken rectangles at random places (arXiv 1708.04552; `Cutout` of albumentations 0.2). Annotations stay as they are.

    A rectangle's centre lies anywhere in the picture or on its edge, so that up to three quarters of it may be outside.
    The winner of iMaterialist (Fashion) 2019 gave the height, 64, and left the library's width: 8 rectangles of 64 x 8 pixels.

    Args:
        count: number of rectangles; they may overlap.
        height, width: of each in pixels of the present image, 2 or more; of an odd one a pixel less is covered.
        probability: of changing the image at all.

    Raises: UserError naming the argument that is out of range.
    """

    def __init__(self, count: int = 8, height: int = 64, width: int = 64, probability: float = 0.5):
        self.count = whole_number_in(count, "Cutout.count", 1)
        self.height = whole_number_in(height, "Cutout.height", 2)
        self.width = whole_number_in(width, "Cutout.width", 2)
        self.probability = number_in(probability, "Cutout.probability", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        chance, seed = rng.random(), rng.integers(2**63)
        if chance >= self.probability:
            return sample
        # The places come from a generator of their own: their number must not change what later transforms draw.
        centres = np.random.default_rng(seed).integers(0, np.array(sample.size) + 1, (self.count, 2))
        image = sample.image.copy()
        for y, x in centres:
            top, left = max(0, y - self.height // 2), max(0, x - self.width // 2)
            image[top : y + self.height // 2, left : x + self.width // 2] = 0
        return replace(sample, image=image)
