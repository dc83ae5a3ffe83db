"""All objects of a data set as columns, measured once; every section of the page is made of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.distributed.progress import track
from ppdet_ext.structures import Record
from ppdet_ext.structures.shapes import shape_of

from .reading import Part

# Parts, holes and boundaries of so many objects, evenly from all, tell what those of all are like.
MOST_SHAPES = 10_000
MANY = 2_000


@dataclass(frozen=True)
class Images:
    """Of all images of all parts, in their order. part: (n,) int64 index; sizes: (n, 2) int64 height, width; counts: (n,) int64
    objects without crowds; crowds: (n,) int64."""

    records: Sequence[Record]
    part: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    crowds: np.ndarray


@dataclass(frozen=True)
class Objects:
    """Of all m objects that are no crowds.

    image: (m,) int64 index into `Images`; place: (m,) int64 among the image's annotations; label: (m,) int64.
    boxes: (m, 4) float64 x1 y1 x2 y2. area: (m,) float64 pixels of the mask, of the box where there is none.
    shapes: (m, 3) float64 parts, holes, boundary (see `Shape`); NaN where they were not measured.
    """

    image: np.ndarray
    place: np.ndarray
    label: np.ndarray
    boxes: np.ndarray
    area: np.ndarray
    shapes: np.ndarray

    def __len__(self) -> int:
        return len(self.label)

    @property
    def sides(self) -> np.ndarray:
        """(m, 2) float64: width and height of the boxes."""
        return self.boxes[:, 2:] - self.boxes[:, :2]

    @property
    def measured(self) -> int:
        """Objects whose shape is known."""
        return int(np.isfinite(self.shapes[:, 0]).sum())


@dataclass(frozen=True)
class Data:
    """What a page is made of."""

    parts: Sequence[Part]
    class_names: Sequence[str]
    images: Images
    objects: Objects

    @property
    def part_of(self) -> np.ndarray:
        """(m,) int64: the part of each object."""
        return self.images.part[self.objects.image]

    @property
    def usual_size(self) -> tuple[int, int]:
        """(height, width) that most images have; of several the largest; (1, 1) of none."""
        if not len(self.images.sizes):
            return 1, 1
        found, often = np.unique(self.images.sizes, axis=0, return_counts=True)
        height, width = found[np.lexsort((found.prod(axis=1), often))[-1]]
        return int(height), int(width)


def data_of(parts: Sequence[Part], class_names: Sequence[str]) -> Data:
    """Measure the objects of all parts. Shapes are measured of at most `MOST_SHAPES`."""
    records = [record for part in parts for record in part.records]
    images = Images(
        records,
        np.repeat(np.arange(len(parts)), [len(part.records) for part in parts]),
        np.array([(record.height, record.width) for record in records], np.int64).reshape(-1, 2),
        np.array([int((~record.crowd).sum()) for record in records], np.int64),
        np.array([int(record.crowd.sum()) for record in records], np.int64),
    )
    return Data(parts, class_names, images, _objects(records, images.counts))


def _objects(records: Sequence[Record], counts: np.ndarray) -> Objects:
    own = [np.flatnonzero(~record.crowd) for record in records]
    boxes = _joined([record.boxes[places].astype(np.float64) for record, places in zip(records, own)], (0, 4))
    area, shapes = _measures(records, own, boxes)
    return Objects(
        np.repeat(np.arange(len(records)), counts),
        _joined(own, (0,)).astype(np.int64),
        _joined([record.labels[places] for record, places in zip(records, own)], (0,)).astype(np.int64),
        boxes,
        area,
        shapes,
    )


def _measures(records: Sequence[Record], own: Sequence[np.ndarray], boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Areas (m,) and shapes (m, 3); each image's masks are unpacked once."""
    total = len(boxes)
    area, shapes = np.prod(boxes[:, 2:] - boxes[:, :2], axis=1), np.full((total, 3), np.nan)
    chosen = np.zeros(total, bool)
    chosen[np.unique(np.linspace(0, max(total - 1, 0), min(MOST_SHAPES, total)).astype(np.int64))] = total > 0
    pairs = list(zip(records, own))
    first = 0
    for record, places in track(pairs, len(pairs), "Objects") if len(pairs) >= MANY else pairs:
        if len(record.masks):
            masks = list(record.masks)
            kept = [masks[place] for place in places.tolist()]
            if kept:
                area[first : first + len(kept)] = mask_utils.area([mask.to_coco() for mask in kept])
            for i in np.flatnonzero(chosen[first : first + len(kept)]).tolist():
                shapes[first + i] = shape_of(kept[i])
        first += len(places)
    return area, shapes


def _joined(arrays: Sequence[np.ndarray], shape: tuple[int, ...]) -> np.ndarray:
    """The arrays in a row; an empty one of `shape` where there are none."""
    return np.concatenate([np.zeros(shape), *arrays]) if arrays else np.zeros(shape)
