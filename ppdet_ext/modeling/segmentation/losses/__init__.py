"""Losses of segmentation maps, each under its name in a segmentor's list `losses`."""

from . import cross_entropy, lovasz, region
from .base import IGNORED, SegmentationLoss, build_losses, loss_values

__all__ = ["IGNORED", "SegmentationLoss", "build_losses", "cross_entropy", "loss_values", "lovasz", "region"]
