"""Losses of segmentation maps, each under its name in a segmentor's list `losses`."""

from . import cross_entropy, lovasz, region
from .base import IGNORED, SegmentationLoss, build_losses, counted_pixels, loss_values, map_sums, mean_of

__all__ = [
    "IGNORED",
    "SegmentationLoss",
    "build_losses",
    "counted_pixels",
    "cross_entropy",
    "loss_values",
    "lovasz",
    "map_sums",
    "mean_of",
    "region",
]
