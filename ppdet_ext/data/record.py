"""What a data set knows about an image (`Record`) and what travels through the transforms (`Sample`)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from ppdet_ext.structures import Rle


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
    masks: list[Rle] = field(default_factory=list)
    crowd: np.ndarray = field(default_factory=no_flags)
    semantic_file: str | None = None
    areas: np.ndarray | None = None
    attributes: list[tuple[int, ...]] | None = None


@dataclass(slots=True)
class Sample:
    """One image on its way through the transforms; the fields of `Record` plus pixels.

    image: None before decoding, then (H, W, 3) uint8 RGB, at the end (3, H, W) float32.
    boxes, labels, masks, crowd: as in `Record`, always of the present image's size.
    semantic: (H, W) uint8, 255 = ignored, or None. original_size: (h, w) of the file.
    scale_factor: present size over original size, (y, x); crops and flips do not change it.
    dropped: how many instances that are in the picture transforms have removed so far, so that the loader can report them.
    """

    image: np.ndarray | None
    boxes: np.ndarray
    labels: np.ndarray
    masks: list[Rle]
    crowd: np.ndarray
    semantic: np.ndarray | None
    im_id: int
    name: str
    file: str
    semantic_file: str | None
    original_size: tuple[int, int]
    scale_factor: tuple[float, float] = (1.0, 1.0)
    dropped: int = 0

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image as it is now."""
        if self.image is None:
            return self.original_size
        return self.image.shape[:2] if self.image.dtype == np.uint8 else self.image.shape[1:]

    def keep(self, chosen: np.ndarray, count: bool = True) -> Sample:
        """The sample with only the instances where `chosen` (n,) bool is true; the others are counted if `count`."""
        if chosen.all():
            return self
        return replace(
            self,
            boxes=self.boxes[chosen],
            labels=self.labels[chosen],
            masks=[mask for mask, kept in zip(self.masks, chosen) if kept],
            crowd=self.crowd[chosen],
            dropped=self.dropped + (int((~chosen).sum()) if count else 0),
        )


def sample_of(record: Record, targets: bool = True) -> Sample:
    """The undecoded sample of a record; `targets=False` leaves the annotations out (evaluation, inference)."""
    return Sample(
        image=None,
        boxes=record.boxes if targets else no_boxes(),
        labels=record.labels if targets else no_labels(),
        masks=record.masks if targets else [],
        crowd=record.crowd if targets else no_flags(),
        semantic=None,
        im_id=record.im_id,
        name=record.name,
        file=record.file,
        semantic_file=record.semantic_file if targets else None,
        original_size=(record.height, record.width),
    )
