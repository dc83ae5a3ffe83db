"""`Record`: what a data set knows about an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from .rle import Rle


def no_boxes() -> np.ndarray:
    return np.zeros((0, 4), np.float32)


def no_labels() -> np.ndarray:
    return np.zeros(0, np.int64)


def no_flags() -> np.ndarray:
    return np.zeros(0, bool)


@dataclass(slots=True)
class Record:
    """One image and its annotations, before anything is decoded.

    im_id: stable number of the image in its data set; file: path; name: file name as annotations write it.
    height, width: size in pixels, EXIF orientation applied.
    boxes: (n, 4) float32, x1 y1 x2 y2 in pixels, right and bottom edges exclusive.
    labels: (n,) int64, contiguous from 0. masks: n masks of size (height, width). crowd: (n,) bool, as COCO's iscrowd.
    semantic_file: path of a label map of the same size, or None.
    areas: (n,) float64 in pixels, as annotated, for the size ranges of the evaluation; None means those of the masks.
    attributes: n tuples of attribute ids, or None where the data set has no attributes.
    """

    im_id: int
    file: str
    name: str
    height: int
    width: int
    boxes: np.ndarray = field(default_factory=no_boxes)
    labels: np.ndarray = field(default_factory=no_labels)
    masks: Sequence[Rle] = field(default_factory=list)
    crowd: np.ndarray = field(default_factory=no_flags)
    semantic_file: str | None = None
    areas: np.ndarray | None = None
    attributes: list[tuple[int, ...]] | None = None

    def of_class(self, label: int) -> Record:
        """The image with the objects of one class alone, in their order."""
        own = np.flatnonzero(self.labels == label)
        return replace(
            self,
            boxes=self.boxes[own],
            labels=self.labels[own],
            masks=[self.masks[i] for i in own] if self.masks else [],
            crowd=self.crowd[own],
            areas=None if self.areas is None else self.areas[own],
            attributes=None if self.attributes is None else [self.attributes[i] for i in own],
        )

    def joined_by_class(self) -> Record:
        """The image as a model has it that gives a class one mask: the objects of a class are one, its crowds another.

        Areas are those of the joined masks, and there are no attributes. An image without masks stays as it is.
        """
        if not self.masks:
            return self
        keys = sorted(set(zip(self.labels.tolist(), self.crowd.tolist())))
        places = [np.flatnonzero((self.labels == label) & (self.crowd == crowd)) for label, crowd in keys]
        masks = [Rle.merge([self.masks[i] for i in own]) for own in places]
        return replace(
            self,
            boxes=np.array([mask.box for mask in masks], np.float32),
            labels=np.array([label for label, _ in keys], np.int64),
            masks=masks,
            crowd=np.array([crowd for _, crowd in keys], bool),
            areas=None,
            attributes=None,
        )
