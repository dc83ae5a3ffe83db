"""Mean IoU of the classes as in semantic segmentation."""

import numpy as np

from ppdet_ext.host.registry import register_metric

from .metric import NOWHERE
from .pixel_counts import PixelCountMetric


@register_metric
class MeanIoU(PixelCountMetric):
    """Mean over classes of (pixels shared) / (pixels of either), summed over all images (PASCAL VOC's segmentation accuracy).

    The background is no class, and a pixel may have several. Classes that are neither annotated nor predicted are left out.
    """

    def combine(self, cells: list[list[tuple[int, int, int]]]) -> dict[str, list[float]]:
        """{"MeanIoU": [mean, IoU of each class, …]}; -1 for what is left out, and where nothing is left."""
        shared, annotated, predicted = np.array(cells, np.int64).sum(axis=0).T
        either = annotated + predicted - shared
        there = either > 0
        iou = np.where(there, shared / np.maximum(either, 1), NOWHERE)
        return {"MeanIoU": [float(iou[there].mean()) if there.any() else NOWHERE, *iou.tolist()]}
