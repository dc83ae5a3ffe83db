"""Blacking out defects, or a side of the sheet: what is covered is no object any more."""

from dataclasses import replace

import numpy as np

from ppdet_ext.registry import number_in, one_of, register_transform
from ppdet_ext.structures import Rle
from ppdet_ext.structures.paste import IGNORED

from .sample import Sample

AREAS, FILLS = ("mask", "box"), ("black", "mean")
_FRAME = 8  # px around a box whose mean "mean" takes


def covered_sample(sample: Sample, covered: Rle, image: np.ndarray) -> Sample:
    """The sample with `image`, whose pixels under `covered` show nothing: objects lose them.

    Those with none left are gone, and not counted as dropped, as the picture has them no more. The boxes of the others that
    lost pixels are measured anew. A semantic map says 255 there, class masks 0.
    """
    visible = covered.complement()
    masks = [mask.intersect(visible) for mask in sample.masks]
    areas = np.array([mask.area for mask in masks], np.int64)
    boxes = sample.boxes.copy()
    for i, (before, mask) in enumerate(zip(sample.masks, masks)):
        if mask != before and areas[i]:
            boxes[i] = mask.box
    changed = replace(sample, image=image, masks=masks, boxes=boxes)
    if sample.semantic is not None or sample.class_masks is not None:
        shown = covered.to_bitmap() == 0
        semantic, planes = sample.semantic, sample.class_masks
        changed = replace(
            changed,
            semantic=None if semantic is None else np.where(shown, semantic, np.uint8(IGNORED)),
            class_masks=None if planes is None else np.ascontiguousarray(planes * shown),
        )
    return changed.keep(areas > 0, count=False)


@register_transform
class DefectBlackout:
    """Black out objects at random, which are no objects any more; a picture that has lost all of them is a clean one.

    The first place of Severstal did so for its classifiers: "these defects components can be randomly blacked out and the
    label for this image will also change from 1 to 0 if all defects are blacked out" (discussion 114254). How often, and
    whether masks or boxes, it does not say: the defaults are our choice. Crowds are never chosen. Put it before what draws
    targets from the masks.

    Args:
        probability: of changing the image at all.
        each: chance of each object, if it is changed.
        area: pixels of its "mask", or of its "box".
        fill: "black", or the "mean" of the pixels within 8 px of the box that are of no object (of the whole picture where
            there are none), so that black alone does not tell.

    Raises: UserError naming the argument that is out of range.
    """

    def __init__(self, probability: float = 0.5, each: float = 0.5, area: str = "mask", fill: str = "black"):
        self.probability = number_in(probability, "DefectBlackout.probability", 0, 1)
        self.each = number_in(each, "DefectBlackout.each", 0, 1)
        self.area = one_of(area, AREAS, "DefectBlackout.area")
        self.fill = one_of(fill, FILLS, "DefectBlackout.fill")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        chance, seed = rng.random(), rng.integers(2**63)
        if chance >= self.probability or sample.crowd.all():
            return sample
        # The number of objects must not change what later transforms draw, hence a generator of its own.
        drawn = np.random.default_rng(seed).random(len(sample.masks)) < self.each
        chosen = [sample.masks[i] for i in np.flatnonzero(drawn & ~sample.crowd)]
        if not chosen:
            return sample
        regions = [_box_of(mask) if self.area == "box" else mask for mask in chosen]
        image = sample.image.copy()
        objects = Rle.merge(list(sample.masks)).to_bitmap().astype(bool) if self.fill == "mean" else None
        for region in regions:
            colour = 0 if objects is None else _surroundings(sample.image, region, objects)
            x1, y1, x2, y2 = map(int, region.box)
            image[y1:y2, x1:x2][region.crop(y1, x1, y2, x2).to_bitmap() > 0] = colour
        return covered_sample(sample, Rle.merge(regions), image)


def _box_of(mask: Rle) -> Rle:
    x1, y1, x2, y2 = map(int, mask.box)
    return Rle.full(y2 - y1, x2 - x1).place(y1, x1, *mask.size)


def _surroundings(image: np.ndarray, region: Rle, objects: np.ndarray) -> np.ndarray:
    """(3,) uint8 mean colour of what lies around a region and is of no object."""
    x1, y1, x2, y2 = map(int, region.box)
    window = slice(max(0, y1 - _FRAME), y2 + _FRAME), slice(max(0, x1 - _FRAME), x2 + _FRAME)
    clean = image[window][~objects[window]]
    return np.rint((clean if len(clean) else image.reshape(-1, 3)).mean(axis=0)).astype(np.uint8)


@register_transform
class BlackBar:
    """Blacken a bar along a side of the picture, as where a sheet does not fill it; objects lose what it covers.

    The 40th place of Severstal did so with the defaults here (TheoViel/kaggle_severstal, src/data/dataset.py); its
    classifier's labels stayed as they were, here they follow the picture.

    Args:
        sides: probability of a bar at the left or the right, each as likely.
        ends: probability of one at the top or the bottom, drawn independently.
        share: of the width or height that a bar covers at most; how much is drawn evenly from nothing on.

    Raises: UserError naming the argument that is out of range.
    """

    def __init__(self, sides: float = 1 / 3, ends: float = 0.1, share: float = 0.3):
        self.sides = number_in(sides, "BlackBar.sides", 0, 1)
        self.ends = number_in(ends, "BlackBar.ends", 0, 1)
        self.share = number_in(share, "BlackBar.share", 0, 1)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        height, width = sample.size
        # All numbers are always drawn, so that one setting does not change what the others draw.
        (side, left, across), (end, top, down) = rng.random((2, 3))
        bars = []
        if side < self.sides and (bar := int(across * self.share * width)):
            bars.append(Rle.full(height, bar).place(0, 0 if left < 0.5 else width - bar, height, width))
        if end < self.ends and (bar := int(down * self.share * height)):
            bars.append(Rle.full(bar, width).place(0 if top < 0.5 else height - bar, 0, height, width))
        if not bars:
            return sample
        image = sample.image.copy()
        for x1, y1, x2, y2 in (map(int, bar.box) for bar in bars):
            image[y1:y2, x1:x2] = 0
        return covered_sample(sample, Rle.merge(bars), image)
