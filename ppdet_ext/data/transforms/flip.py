"""Mirroring and turning image, boxes, masks and maps together; exact, so that what undoes them gives the same again."""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.registry import number_in, register_transform

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


def transpose(sample: Sample) -> Sample:
    """Rows become columns: mirrored at the diagonal from the top left."""
    y, x = sample.scale_factor
    return replace(
        sample.with_maps(np.transpose),
        image=np.ascontiguousarray(sample.image.transpose(1, 0, 2)),
        boxes=sample.boxes[:, [1, 0, 3, 2]],
        masks=[mask.transpose() for mask in sample.masks],
        scale_factor=(x, y),
    )


@register_transform
class FlipImage:
    """Mirror at random.

    Args:
        horizontal, vertical: probability of each mirroring, drawn independently.
    """

    def __init__(self, horizontal: float = 0.5, vertical: float = 0.0):
        self.horizontal = number_in(horizontal, "FlipImage.horizontal", 0, 1)
        self.vertical = number_in(vertical, "FlipImage.vertical", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        # Both numbers are always drawn, so that one setting does not change what the other draws.
        horizontal, vertical = rng.random(2)
        if horizontal < self.horizontal:
            sample = flip_horizontal(sample)
        if vertical < self.vertical:
            sample = flip_vertical(sample)
        return sample


@register_transform
class Dihedral:
    """One of the eight symmetries of the square, drawn evenly: turned by a quarter, a half or not, and mirrored or not.

    `D4` of albumentations. Of a picture that is not square only the four that keep its size are drawn: both mirrorings,
    a half turn, and none. So crop to a square window first.

    Args:
        probability: of drawing at all.

    Raises: UserError for a probability that is none.
    """

    def __init__(self, probability: float = 1.0):
        self.probability = number_in(probability, "Dihedral.probability", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        chance, horizontal, vertical, turned = rng.random(4)
        if chance >= self.probability:
            return sample
        if turned < 0.5 and sample.size[0] == sample.size[1]:
            sample = transpose(sample)
        if horizontal < 0.5:
            sample = flip_horizontal(sample)
        return flip_vertical(sample) if vertical < 0.5 else sample
