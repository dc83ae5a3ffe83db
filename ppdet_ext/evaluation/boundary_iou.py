"""Boundary IoU (Cheng et al. 2021, arXiv 2103.16562): how well the outlines of instance masks are drawn."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from ppdet_ext.host.registry import number_in, register_metric
from ppdet_ext.structures import Record, Rle

from .metric import NOWHERE, PartialMetric

_CROSS = np.ones((3, 3), np.uint8)


class Overlaps(NamedTuple):
    """IoU of annotated (g) and predicted (p) masks: of the whole masks and of their boundaries, (g, p) float64 both."""

    masks: np.ndarray
    boundaries: np.ndarray


def boundary(mask: Rle, width: int) -> Rle:
    """The pixels of a mask that are at most `width` px from its outline, the image's border being part of that.

    As `mask_to_boundary` of github.com/bowenc0221/boundary-iou-api: the mask without itself eroded `width` times by 3 × 3.
    """
    if not mask:
        return mask
    x1, y1, x2, y2 = (int(edge) for edge in mask.box)
    # Eroding the part that holds the mask, with an empty frame around it, does what eroding the image does.
    whole = np.pad(mask.crop(y1, x1, y2, x2).to_bitmap(), 1)
    ring = whole - cv2.erode(whole, _CROSS, iterations=width)
    return Rle.from_window(ring[1:-1, 1:-1], y1, x1, *mask.size)


def boundary_width(height: int, width: int, dilation_ratio: float) -> int:
    """In px: that share of the image's diagonal, rounded, at least 1."""
    return max(1, round(dilation_ratio * float(np.hypot(height, width))))


@register_metric
class BoundaryIoU(PartialMetric):
    """Mean over annotated objects of the boundary IoU with the prediction that is matched to them; 0 for those without one.

    Of each image and class, predictions take by falling score the annotated object of the highest mask IoU that is free, if
    that is more than `iou`. Predictions too many cost nothing: compare settings of one model, or look at COCO's AP as well.
    Crowds do not count.

    dilation_ratio: width of the boundary, as share of the image's diagonal. iou: from which masks are matched.

    Raises: UserError for numbers that cannot be.
    """

    def __init__(self, dilation_ratio: float = 0.02, iou: float = 0.5) -> None:
        self.ratio = number_in(dilation_ratio, "BoundaryIoU.dilation_ratio", 1e-6, 1)
        self.iou = number_in(iou, "BoundaryIoU.iou", 0, 1)

    def prepare(self, truth: Record, masks: list[Rle]) -> Overlaps:
        own = [mask for mask, crowd in zip(truth.masks, truth.crowd) if not crowd]
        ious = Rle.iou_matrix(own, masks)
        rings = np.zeros_like(ious)
        width = boundary_width(truth.height, truth.width, self.ratio)
        theirs: dict[int, Rle] = {}
        # Only of pairs that can be matched.
        for g, p in zip(*np.nonzero(ious > self.iou)):
            if p not in theirs:
                theirs[int(p)] = boundary(masks[p], width)
            rings[g, p] = Rle.iou_matrix([boundary(own[g], width)], [theirs[int(p)]])[0, 0]
        return Overlaps(ious, rings)

    def partial(self, prepared: Overlaps, scores: np.ndarray, chosen: np.ndarray) -> tuple[int, int, float, float]:
        """(annotated, matched, sum of their boundary IoUs, sum of their mask IoUs)."""
        ious = prepared.masks.copy()
        matched, rings, whole = 0, 0.0, 0.0
        for p in chosen:
            g = int(ious[:, p].argmax()) if len(ious) else -1
            if g >= 0 and ious[g, p] > self.iou:
                matched, rings, whole = matched + 1, rings + float(prepared.boundaries[g, p]), whole + float(ious[g, p])
                ious[g] = NOWHERE
        return len(ious), matched, rings, whole

    def combine(self, partials: list[list[tuple[int, int, float, float]]]) -> dict[str, list[float]]:
        """{"BoundaryIoU": [mean, of each class, …], "matched_BoundaryIoU", "matched_MaskIoU", "matched": likewise}.

        The second and third are means over matched objects alone, the last the share of those. -1 where there is none.
        """
        sums = np.array(partials, np.float64).sum(axis=0)
        annotated, matched, rings, whole = np.concatenate([sums.sum(axis=0, keepdims=True), sums]).T
        return {
            "BoundaryIoU": _share(rings, annotated),
            "matched_BoundaryIoU": _share(rings, matched),
            "matched_MaskIoU": _share(whole, matched),
            "matched": _share(matched, annotated),
        }


def _share(sums: np.ndarray, counts: np.ndarray) -> list[float]:
    shares: Sequence[float] = np.where(counts > 0, sums / np.maximum(counts, 1), NOWHERE).tolist()
    return list(shares)
