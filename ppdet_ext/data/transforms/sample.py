"""`Sample`: what travels through the transforms."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ppdet_ext.structures import Record, Rle
from ppdet_ext.structures.record import no_boxes, no_flags, no_labels


@dataclass(slots=True)
class Sample:
    """One image on its way through the transforms; the fields of `Record` plus pixels.

    image: None before decoding, then (H, W, 3) uint8 RGB, at the end (3, H, W) or (1, H, W) float32.
    boxes, labels, masks, crowd: as in `Record`, always of the present image's size.
    semantic: (H, W) uint8, 255 = ignored, or None. class_masks: (C, H, W) uint8, as of `Batch`, or None.
    original_size: (h, w) of the file.
    scale_factor: present size over original size, (y, x); crops and flips do not change it.
    dropped: how many instances that are in the picture transforms have removed so far, so that the loader can report them.
    """

    image: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    masks: Sequence[Rle]
    crowd: np.ndarray
    semantic: np.ndarray | None
    im_id: int
    name: str
    file: str
    semantic_file: str | None
    original_size: tuple[int, int]
    scale_factor: tuple[float, float] = (1.0, 1.0)
    dropped: int = 0
    class_masks: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image as it is now."""
        if self.image is None:
            return self.original_size
        return self.image.shape[:2] if self.image.dtype == np.uint8 else self.image.shape[1:]

    def with_maps(self, move: Callable[[np.ndarray], np.ndarray]) -> Sample:
        """The sample with the maps that lie on its image moved: each plane (H, W) is as `move` gives it."""
        planes = self.class_masks
        return replace(
            self,
            semantic=None if self.semantic is None else np.ascontiguousarray(move(self.semantic)),
            # Of no classes there is no plane to stack.
            class_masks=planes if planes is None or not len(planes) else np.stack([move(plane) for plane in planes]),
        )

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
        image=None,  # type: ignore[arg-type]  # ReadImage, the first transform, reads it
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
