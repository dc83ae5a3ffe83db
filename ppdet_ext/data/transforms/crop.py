"""Cropping image, boxes, masks and semantic map together.

The rule for boxes: a box that lies inside the window is only moved. A box the window cuts is measured again on what is left
of its mask, since clipping alone would leave it larger than the visible part of the object.
"""

from dataclasses import replace

import numpy as np

from ppdet_ext.registry import number_in, register_transform, whole_number_in
from ppdet_ext.structures import Rle

from .sample import Sample


def crop_sample(sample: Sample, top: int, left: int, height: int, width: int, min_area: int = 1) -> Sample:
    """The window of height x width pixels at (top, left).

    Instances outside are left behind. Those of which the window leaves less than `min_area` pixels are dropped and
    counted; whole ones stay.
    """
    bottom, right = top + height, left + width
    x1, y1, x2, y2 = sample.boxes.T
    whole = (x1 >= left) & (y1 >= top) & (x2 <= right) & (y2 <= bottom)
    boxes = sample.boxes - np.array([left, top, left, top], np.float32)
    masks = [mask.crop(top, left, bottom, right) for mask in sample.masks]
    areas = np.array([mask.area for mask in masks], np.int64)
    for i in np.flatnonzero(~whole & (areas > 0)):
        boxes[i] = masks[i].box
    cropped = replace(
        sample.with_maps(lambda plane: plane[top:bottom, left:right]),
        image=np.ascontiguousarray(sample.image[top:bottom, left:right]),
        boxes=boxes,
        masks=masks,
    )
    inside = areas > 0
    return cropped.keep(inside, count=False).keep((whole | (areas >= min_area))[inside])


@register_transform
class CropAroundDefect:
    """Crop a window of fixed size, usually one that shows a defect.

    A sheet is mostly clean; windows at random would seldom hold anything to learn from.

    Args:
        height, width: size of the window in pixels; no larger than the image.
        probability: chance that the window is aimed at an instance, drawn evenly from those that are no crowds, so that
            it holds at least one pixel of it. Otherwise, and in images without any, the window lies anywhere.
        min_area: an instance the window cuts stays only if this many pixels of it are left.
    """

    def __init__(self, height: int, width: int, probability: float = 0.8, min_area: int = 16):
        self.height = whole_number_in(height, "CropAroundDefect.height", 1)
        self.width = whole_number_in(width, "CropAroundDefect.width", 1)
        self.probability = number_in(probability, "CropAroundDefect.probability", 0, 1)
        self.min_area = whole_number_in(min_area, "CropAroundDefect.min_area", 0)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        full_height, full_width = sample.size
        height, width = min(self.height, full_height), min(self.width, full_width)
        aimed = rng.random() < self.probability
        candidates = np.flatnonzero(~sample.crowd)
        y: int | None = None
        x: int | None = None
        if aimed and len(candidates):
            y, x = random_pixel(sample.masks[candidates[rng.integers(len(candidates))]], rng)
        top = _draw_start(rng, full_height, height, y)
        left = _draw_start(rng, full_width, width, x)
        return crop_sample(sample, top, left, height, width, self.min_area)


def random_pixel(mask: Rle, rng: np.random.Generator) -> tuple[int, int]:
    """(y, x) of a pixel drawn evenly from a non-empty mask."""
    starts, lengths = mask.runs()
    ends = np.cumsum(lengths)
    drawn = int(rng.integers(ends[-1]))
    run = int(np.searchsorted(ends, drawn, side="right"))
    x, y = divmod(int(starts[run]) + drawn - int(ends[run] - lengths[run]), mask.height)
    return y, x


def _draw_start(rng: np.random.Generator, full: int, window: int, must_hold: int | None) -> int:
    low, high = 0, full - window
    if must_hold is not None:
        low, high = max(low, must_hold - window + 1), min(high, must_hold)
    return int(rng.integers(low, high + 1))
