"""Sample transforms: callables (sample, rng) -> sample that move image, boxes, masks and semantic map together.

Each is registered with ppdet and named in a reader's `sample_transforms`; all randomness comes from `rng`.
"""

from .blackout import BlackBar, DefectBlackout
from .brightness_contrast import BrightnessContrast
from .class_masks import ClassMasks
from .color import JitterColor
from .crop import CropAroundDefect
from .crop_instance import CropInstance
from .cutout import Cutout
from .flip import Dihedral, FlipImage
from .jpeg_compression import JpegCompression
from .one_of import OneOf
from .read import NormalizeToCHW, ReadImage
from .resize import ResizeFixed, ResizeShortEdge
from .semantic import SemanticFromMap, SemanticFromMasks
from .sharpness import CLAHE, GaussianBlur, Sharpen

__all__ = [
    "CLAHE",
    "BlackBar",
    "BrightnessContrast",
    "ClassMasks",
    "CropAroundDefect",
    "CropInstance",
    "Cutout",
    "DefectBlackout",
    "Dihedral",
    "FlipImage",
    "GaussianBlur",
    "JitterColor",
    "JpegCompression",
    "NormalizeToCHW",
    "OneOf",
    "ReadImage",
    "ResizeFixed",
    "ResizeShortEdge",
    "SemanticFromMap",
    "SemanticFromMasks",
    "Sharpen",
]
