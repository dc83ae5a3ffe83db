"""Mirroring image, boxes, masks and semantic map together; exact, so twice is the identity."""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.host.registry import register_transform

from .sample import Sample


def flip_horizontal(sample: Sample) -> Sample:
    """Mirrored left and right."""
    width = sample.size[1]
    x1, y1, x2, y2 = sample.boxes.T
    return replace(
        sample.with_maps(lambda plane: cv2.flip(plane, 1)),
        image=cv2.flip(sample.image, 1),
        boxes=np.stack([width - x2, y1, width - x1, y2], axis=1),
        masks=[mask.flip_horizontal() for mask in sample.masks],
    )


def flip_vertical(sample: Sample) -> Sample:
    """Mirrored top and bottom."""
    height = sample.size[0]
    x1, y1, x2, y2 = sample.boxes.T
    return replace(
        sample.with_maps(lambda plane: cv2.flip(plane, 0)),
        image=cv2.flip(sample.image, 0),
        boxes=np.stack([x1, height - y2, x2, height - y1], axis=1),
        masks=[mask.flip_vertical() for mask in sample.masks],
    )


@register_transform
class FlipImage:
    """Mirror at random.

    Args:
        horizontal, vertical: probability of each mirroring, drawn independently.
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0):
        self.horizontal, self.vertical = horizontal, vertical

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        # Both numbers are always drawn, so that one setting does not change what the other draws.
        horizontal, vertical = rng.random(2)
        if horizontal < self.horizontal:
            sample = flip_horizontal(sample)
        if vertical < self.vertical:
            sample = flip_vertical(sample)
        return sample
