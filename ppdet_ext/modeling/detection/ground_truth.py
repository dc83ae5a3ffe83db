"""The objects of one training image, as the heads take them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppdet_ext.structures import Rle


@dataclass(frozen=True)
class GroundTruth:
    """Objects of one image in the network's pixels.

    Attributes:
        boxes: (n, 4) float32.
        labels: (n,) int64, 0 … classes − 1.
        masks: n masks of size (height, width), or None where no mask head learns.
        height, width: size of the image before padding.
    """

    boxes: np.ndarray
    labels: np.ndarray
    masks: list[Rle] | None
    height: float
    width: float

    @classmethod
    def of_batch(cls, batch: Mapping[str, Any]) -> list["GroundTruth"]:
        """One for each image of a training batch."""
        shapes = np.asarray(batch["im_shape"])
        masks = batch.get("gt_mask", [None] * len(shapes))
        return [
            cls(np.asarray(b, np.float32).reshape(-1, 4), np.asarray(c, np.int64).reshape(-1), m, float(h), float(w))
            for b, c, m, (h, w) in zip(batch["gt_bbox"], batch["gt_class"], masks, shapes)
        ]

    def bitmap(self, index: int) -> np.ndarray:
        """Object `index` as a (height, width) bitmap of 0 and 1. Raises: ValueError where there are no masks."""
        if self.masks is None:
            raise ValueError("these objects have no masks")
        return self.masks[index].to_bitmap()
