"""What the heads pool their regions from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import paddle

from ppdet_ext.modeling.ops.roi_align import Pyramid


@dataclass(frozen=True)
class Features:
    """What regions are pooled from: the pyramid, and the semantic feature where that branch is on."""

    pyramid: Pyramid
    semantic: Pyramid | None

    def pool(self, rois: np.ndarray, size: int, semantic_merge: int) -> paddle.Tensor:
        """Both features of rois (n, 5) at size × size, added (HTC §3.3)."""
        pooled = self.pyramid.pool(rois, size)
        return pooled if self.semantic is None else pooled + self.semantic.pool(rois, size, semantic_merge)


class ImageFeatures:
    """Feature maps of a batch's images, and what the heads pool from, which is made when it is first asked for.

    Attributes:
        maps: finest first, per level (B, channels, H, W).
        im_shape: (B, 2) float32 h, w of the images without padding.
    """

    def __init__(self, maps: list[paddle.Tensor], im_shape: np.ndarray, pooled: Callable[[list[paddle.Tensor]], Features]):
        self.maps, self.im_shape, self._pooled = maps, im_shape, pooled

    @cached_property
    def regions(self) -> Features:
        """What the heads pool from."""
        return self._pooled(self.maps)
