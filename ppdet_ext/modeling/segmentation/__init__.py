"""Semantic segmentation: a map of each class's probability, in place of boxes."""

from . import losses

__all__ = ["losses"]
