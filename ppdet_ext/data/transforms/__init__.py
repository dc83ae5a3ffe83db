"""Sample transforms: callables (sample, rng) -> sample that move image, boxes, masks and semantic map together.

Each is registered with ppdet and named in a reader's `sample_transforms`; all randomness comes from `rng`.
"""

from .brightness_contrast import BrightnessContrast
from .class_masks import ClassMasks
from .color import JitterColor
from .crop import CropAroundDefect
from .cutout import Cutout
from .flip import FlipImage
from .jpeg_compression import JpegCompression
from .read import NormalizeToCHW, ReadImage
from .resize import ResizeFixed, ResizeShortEdge
from .semantic import SemanticFromMap, SemanticFromMasks

__all__ = [
    "BrightnessContrast",
    "ClassMasks",
    "CropAroundDefect",
    "Cutout",
    "FlipImage",
    "JitterColor",
    "JpegCompression",
    "NormalizeToCHW",
    "ReadImage",
    "ResizeFixed",
    "ResizeShortEdge",
    "SemanticFromMap",
    "SemanticFromMasks",
]
