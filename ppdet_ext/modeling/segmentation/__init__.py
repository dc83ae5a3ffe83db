"""Semantic segmentation: a map of each class's probability, in place of boxes; importing it registers its parts with ppdet."""

from . import decoders, losses
from .classifier import ImageClassifier
from .segmentor import SemanticSegmentor

__all__ = ["ImageClassifier", "SemanticSegmentor", "decoders", "losses"]
