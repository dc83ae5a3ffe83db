"""`Batch`: the samples of a step, put together."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from .rle import Rle


@dataclass(eq=False, slots=True)
class Batch(Mapping):
    """B images padded to one size, and in training what is to be learnt of them.

    Arrays are numpy's where batches are made, paddle's tensors where they are used. It is a mapping, too, as ppdet's batches
    are: `batch["image"]`; what is None is not in it.

    image: (B, 3, H, W) float32, of grey pictures (B, 1, H, W). im_id: (B,) int64. im_shape: (B, 2) float32 h, w before padding.
    scale_factor: (B, 2) float32 y, x. origin_shape: (B, 2) int64 of the files. names: B file names.
    gt_bbox, gt_class, gt_mask: by image, (n, 4) float32 x1 y1 x2 y2, (n,) int64, n masks of the image's size; without crowds.
    semantic: (B, H, W) uint8, 255 is ignored. class_masks: (B, C, H, W) uint8, a plane for each class: 1 on its objects, 0
    elsewhere, 255 where nothing is to be learnt (crowds, padding). epoch: of the training, which random choices go by.
    dropped, crowds: instances that are in the pictures, but no targets: left out by transforms, and crowds.
    """

    image: Any
    im_id: Any
    im_shape: Any
    scale_factor: Any
    origin_shape: Any
    names: list[str]
    gt_bbox: list[np.ndarray] | None = None
    gt_class: list[np.ndarray] | None = None
    gt_mask: list[list[Rle]] | None = None
    semantic: Any = None
    epoch: int | None = None
    dropped: int | None = None
    crowds: int | None = None
    class_masks: Any = None

    def __getitem__(self, key: str) -> Any:
        value = getattr(self, key, None) if key in _NAMES else None
        if value is None:
            raise KeyError(key)
        return value

    def __iter__(self) -> Iterator[str]:
        return (name for name in _NAMES if getattr(self, name) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def converted(self, convert: Callable[[np.ndarray], Any]) -> "Batch":
        """With `convert` of each array of the whole batch; those by image stay."""
        return replace(self, **{key: convert(value) for key, value in self.items() if isinstance(value, np.ndarray)})


_NAMES = tuple(field.name for field in fields(Batch))
