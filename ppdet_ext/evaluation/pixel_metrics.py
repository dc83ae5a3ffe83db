"""Metrics of whole classes: how many pixels truth and predictions cover, and share, per image; Dice and IoU of these."""

from typing import NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.host.registry import register_metric
from ppdet_ext.structures import Record, Rle

from .metric import NOWHERE, PartialMetric


class Unions(NamedTuple):
    """The union of all annotated masks, its area in px, the predicted masks, as pycocotools takes them, and the image's px."""

    truth: dict | None
    area: int
    predicted: list[dict]
    pixels: int


class PixelCountMetric(PartialMetric):
    """Base of metrics of unions of instances. A partial is (shared px, annotated px, predicted px) of one image and class.

    Instances of a class that overlap count once; crowd regions are pixels of their class like others. Nothing is decoded.
    """

    def prepare(self, truth: Record, masks: list[Rle]) -> Unions:
        union = mask_utils.merge([mask.to_coco() for mask in truth.masks]) if truth.masks else None
        area = int(mask_utils.area(union)) if truth.masks else 0
        return Unions(union, area, [mask.to_coco() for mask in masks], truth.height * truth.width)

    def partial(self, prepared: Unions, scores: np.ndarray, chosen: np.ndarray) -> tuple[int, int, int]:
        if not len(chosen):
            return 0, prepared.area, 0
        # Straight to pycocotools: only areas are wanted, so the canonical form that Rle.merge makes would be waste.
        union = mask_utils.merge([prepared.predicted[i] for i in chosen])
        shared = int(mask_utils.area(mask_utils.merge([prepared.truth, union], intersect=True))) if prepared.area else 0
        return shared, prepared.area, int(mask_utils.area(union))


@register_metric
class SeverstalDice(PixelCountMetric):
    """Mean over all (image, class) pairs of 2·|X ∩ Y| / (|X| + |Y|), 1 where both are empty.

    X and Y are the unions of the predicted and of the annotated instances, as on the Evaluation page of
    kaggle.com/c/severstal-steel-defect-detection.
    """

    def combine(self, partials: list[list[tuple[int, int, int]]]) -> dict[str, list[float]]:
        """{"SeverstalDice": [mean, mean of each class, …]}."""
        shared, annotated, predicted = np.moveaxis(np.array(partials, np.float64), -1, 0)
        total = annotated + predicted
        dice = np.where(total > 0, 2 * shared / np.maximum(total, 1), 1.0)
        return {"SeverstalDice": [float(dice.mean()), *dice.mean(axis=0).tolist()]}


@register_metric
class MeanIoU(PixelCountMetric):
    """Mean over classes of (pixels shared) / (pixels of either), summed over all images (PASCAL VOC's segmentation accuracy).

    The background is no class, and a pixel may have several. Classes that are neither annotated nor predicted are left out.
    """

    def combine(self, partials: list[list[tuple[int, int, int]]]) -> dict[str, list[float]]:
        """{"MeanIoU": [mean, IoU of each class, …]}; -1 for what is left out, and where nothing is left."""
        shared, annotated, predicted = np.array(partials, np.int64).sum(axis=0).T
        either = annotated + predicted - shared
        there = either > 0
        iou = np.where(there, shared / np.maximum(either, 1), NOWHERE)
        return {"MeanIoU": [float(iou[there].mean()) if there.any() else NOWHERE, *iou.tolist()]}
