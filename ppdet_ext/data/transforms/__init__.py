"""Sample transforms: callables (sample, rng) -> sample that move image, boxes, masks and semantic map together.

Each is registered with ppdet and named in a reader's `sample_transforms`; all randomness comes from `rng`.
"""

from .color import JitterColor
from .crop import CropAroundDefect
from .flip import FlipImage
from .normalize import NormalizeToCHW
from .read import ReadImage
from .resize import ResizeFixed, ResizeShortEdge
from .semantic import SemanticFromMap, SemanticFromMasks

__all__ = [
    "CropAroundDefect",
    "FlipImage",
    "JitterColor",
    "NormalizeToCHW",
    "ReadImage",
    "ResizeFixed",
    "ResizeShortEdge",
    "SemanticFromMap",
    "SemanticFromMasks",
]
