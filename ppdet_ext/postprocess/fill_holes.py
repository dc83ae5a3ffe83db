"""Filling holes in masks."""

from dataclasses import replace

from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections

from .base import Step


@register_step
class FillHoles(Step):
    """Fills every background region (4-connected) of a mask that does not reach the image's border. Boxes stay."""

    takes_masks = True

    def __call__(self, found: Detections, name: str) -> Detections:
        return replace(found, masks=[mask.fill_holes() for mask in self.masks_of(found, name)])
