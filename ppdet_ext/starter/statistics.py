"""What a data set is like: sizes of its images, classes, sizes and shapes of its objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Record

# Shapes of so many objects tell all there is to tell; anchors are compared with each.
MOST_BOXES = 5000


@dataclass(frozen=True)
class Statistics:
    """Of the images of a data set.

    class_names: by label. sizes: (n, 2) int64, height and width of each image in pixels. counts: (n,) int64 objects of each.
    objects: (classes,) int64 objects of each class; crowds are none. boxes: (m, 4) float64, x1 y1 x2 y2 in pixels, of at
    most `MOST_BOXES` objects, evenly from all. image: (m,) int64, the image of each.
    smallest: pixels that the masks of 99 % of the objects have or exceed; 0 where there are no masks.
    """

    class_names: tuple[str, ...]
    sizes: np.ndarray
    counts: np.ndarray
    objects: np.ndarray
    boxes: np.ndarray
    image: np.ndarray
    smallest: float

    @property
    def images(self) -> int:
        return len(self.sizes)

    @property
    def empty(self) -> int:
        """Images without an object."""
        return int((self.counts == 0).sum())

    @property
    def usual_size(self) -> tuple[int, int]:
        """Height and width that most images have; of several the largest."""
        found, often = np.unique(self.sizes, axis=0, return_counts=True)
        height, width = found[np.lexsort((found.prod(axis=1), often))[-1]]
        return int(height), int(width)

    @property
    def object_sizes(self) -> np.ndarray:
        """(m,) float64: root of the area of each box, as COCO tells small from large; pixels."""
        return np.sqrt((self.boxes[:, 2] - self.boxes[:, 0]) * (self.boxes[:, 3] - self.boxes[:, 1]))


def statistics_of(records: Sequence[Record], class_names: Sequence[str], source: str) -> Statistics:
    """Count and measure.

    source: what messages call the data set.

    Raises: UserError where there is no image, or no object that is not a crowd.
    """
    if not records:
        raise UserError(f"{source}: there is no image to learn from.")
    counts = np.array([int((~record.crowd).sum()) for record in records], np.int64)
    if not counts.sum():
        raise UserError(f"{source}: none of {len(records)} images has an object to learn from (crowds are none).")
    labels = np.concatenate([record.labels[~record.crowd] for record in records])
    boxes = np.concatenate([record.boxes[~record.crowd] for record in records]).astype(np.float64)
    image = np.repeat(np.arange(len(records)), counts)
    chosen = np.unique(np.linspace(0, len(boxes) - 1, min(MOST_BOXES, len(boxes))).astype(np.int64))
    areas = [
        mask.area for record in records if len(record.masks) for mask, crowd in zip(record.masks, record.crowd) if not crowd
    ]
    return Statistics(
        tuple(class_names),
        np.array([(record.height, record.width) for record in records], np.int64),
        counts,
        np.bincount(labels, minlength=len(class_names)),
        boxes[chosen],
        image[chosen],
        float(np.percentile(areas, 1)) if areas else 0.0,
    )
