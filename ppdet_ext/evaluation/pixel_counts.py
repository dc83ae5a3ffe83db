"""What Dice and IoU of whole classes have in common: how many pixels truth and predictions cover, and share, per image."""

from typing import NamedTuple

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.structures import Rle

from .metric import CellMetric, Truth


class Unions(NamedTuple):
    """The union of all annotated masks and its area in px, and the predicted masks, as pycocotools takes them."""

    truth: dict | None
    area: int
    found: list[dict]


class PixelCountMetric(CellMetric):
    """Base of metrics of unions of instances. A cell is (shared px, annotated px, predicted px) of one image and class.

    Instances of a class that overlap count once; crowd regions are pixels of their class like others. Nothing is decoded.
    """

    def prepare(self, truth: Truth, found: list[Rle]) -> Unions:
        union = mask_utils.merge([mask.to_coco() for mask in truth.masks]) if truth.masks else None
        area = int(mask_utils.area(union)) if truth.masks else 0
        return Unions(union, area, [mask.to_coco() for mask in found])

    def cell(self, prepared: Unions, scores: np.ndarray, chosen: np.ndarray) -> tuple[int, int, int]:
        if not len(chosen):
            return 0, prepared.area, 0
        # Straight to pycocotools: only areas are wanted, so the canonical form that Rle.merge makes would be waste.
        union = mask_utils.merge([prepared.found[i] for i in chosen])
        shared = int(mask_utils.area(mask_utils.merge([prepared.truth, union], intersect=True))) if prepared.area else 0
        return shared, prepared.area, int(mask_utils.area(union))
