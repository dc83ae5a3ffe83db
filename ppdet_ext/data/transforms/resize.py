"""Resizing image, boxes, masks and semantic map together.

The rule for boxes: they are scaled by the exact ratio new / old of each axis (sizes are whole pixels, so both ratios may
differ slightly) and clipped to the image; they are not measured on the mask again. Masks and semantic maps take the
nearest pixel. An instance whose mask has no pixel left is dropped and counted.
"""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.registry import one_of, register_transform, whole_number_in

from .sample import Sample

INTERPOLATIONS = {
    "nearest": cv2.INTER_NEAREST,
    "linear": cv2.INTER_LINEAR,
    "cubic": cv2.INTER_CUBIC,
    "area": cv2.INTER_AREA,
    "lanczos": cv2.INTER_LANCZOS4,
}


def resize_sample(sample: Sample, height: int, width: int, interpolation: str = "linear") -> Sample:
    """The sample at height x width, the image by one of `INTERPOLATIONS`; unchanged when it has that size."""
    old_height, old_width = sample.size
    if (old_height, old_width) == (height, width):
        return sample
    y, x = height / old_height, width / old_width
    boxes = sample.boxes * np.array([x, y, x, y], np.float32)
    boxes = np.clip(boxes, 0, np.array([width, height, width, height], np.float32))
    masks = [mask.resize(height, width) for mask in sample.masks]
    resized = replace(
        sample.with_maps(lambda plane: cv2.resize(plane, (width, height), interpolation=cv2.INTER_NEAREST)),
        image=cv2.resize(sample.image, (width, height), interpolation=INTERPOLATIONS[interpolation]),
        boxes=boxes,
        masks=masks,
        scale_factor=(sample.scale_factor[0] * y, sample.scale_factor[1] * x),
    )
    return resized.keep(np.array([bool(mask) for mask in masks], bool))


@register_transform
class ResizeFixed:
    """Resize to one size.

    Args:
        height, width: the new size in pixels.
        keep_ratio: keep the aspect ratio, as large as fits into that size.
        interpolation: of the image: nearest, linear, cubic, area or lanczos, as OpenCV does them.
    """

    def __init__(self, height: int, width: int, keep_ratio: bool = False, interpolation: str = "linear"):
        self.height = whole_number_in(height, "ResizeFixed.height", 1)
        self.width, self.keep_ratio = whole_number_in(width, "ResizeFixed.width", 1), keep_ratio
        self.interpolation = one_of(interpolation, INTERPOLATIONS, "ResizeFixed.interpolation")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        if not self.keep_ratio:
            return resize_sample(sample, self.height, self.width, self.interpolation)
        height, width = sample.size
        scale = min(self.height / height, self.width / width)
        return resize_sample(sample, *scaled(height, width, scale), self.interpolation)


@register_transform
class ResizeShortEdge:
    """Resize keeping the aspect ratio, so that the short edge has a wanted length and the long one stays within a limit.

    Args:
        short_edges: lengths in pixels. "choice" draws one of them, "range" a length from the smallest to the largest.
        long_limit: longest allowed long edge; None for no limit.
        mode: "choice" or "range".
        interpolation: as of `ResizeFixed`.
    """

    def __init__(
        self, short_edges: list[int], long_limit: int | None = 1333, mode: str = "choice", interpolation: str = "linear"
    ):
        if not short_edges or min(short_edges) < 1:
            raise UserError(
                f"ResizeShortEdge.short_edges is {list(short_edges)}; give lengths of 1 px or more, for example [800]."
            )
        self.short_edges = list(short_edges)
        self.long_limit = None if long_limit is None else whole_number_in(long_limit, "ResizeShortEdge.long_limit", 1)
        self.mode = one_of(mode, ("choice", "range"), "ResizeShortEdge.mode")
        self.interpolation = one_of(interpolation, INTERPOLATIONS, "ResizeShortEdge.interpolation")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = sample.size
        scale = self._draw(rng) / min(height, width)
        if self.long_limit is not None:
            scale = min(scale, self.long_limit / max(height, width))
        return resize_sample(sample, *scaled(height, width, scale), self.interpolation)

    def _draw(self, rng: np.random.Generator) -> int:
        if self.mode == "range":
            return int(rng.integers(min(self.short_edges), max(self.short_edges) + 1))
        return self.short_edges[int(rng.integers(len(self.short_edges)))]


def scaled(height: int, width: int, scale: float) -> tuple[int, int]:
    """Both sides times `scale`, rounded, at least one pixel."""
    return max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5))
