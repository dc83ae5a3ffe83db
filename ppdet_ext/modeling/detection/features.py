"""What the heads pool their regions from."""

from dataclasses import dataclass

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
