"""The traces of saving as JPEG once more."""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.registry import number_in, register_transform, whole_number_in

from .sample import Sample

LONGEST = 65_500  # px that libjpeg takes


@register_transform
class JpegCompression:
    """Compress and decompress at a quality drawn evenly (`JpegCompression` of albumentations 0.2).

    Args:
        quality_lower, quality_upper: libjpeg's quality, 0 (worst) to 100, both ends included.
        probability: of changing the image at all.

    Raises: UserError naming the argument that is out of range.
    """

    def __init__(self, quality_lower: int = 80, quality_upper: int = 99, probability: float = 0.5):
        self.quality_lower = whole_number_in(quality_lower, "JpegCompression.quality_lower", 0, 100)
        self.quality_upper = whole_number_in(quality_upper, "JpegCompression.quality_upper", 0, 100)
        self.probability = number_in(probability, "JpegCompression.probability", 0, 1)
        if quality_lower > quality_upper:
            raise UserError(f"JpegCompression: quality_lower {quality_lower} is above quality_upper {quality_upper}.")

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Raises: UserError when the image is longer than JPEG's 65,500 pixels."""
        chance, place = rng.random(2)
        if chance >= self.probability:
            return sample
        if max(sample.size) > LONGEST:
            raise UserError(f"{sample.file}: {sample.size} pixels are too many for JpegCompression; put a resize before it.")
        quality = self.quality_lower + int(place * (self.quality_upper - self.quality_lower + 1))
        # The codec takes BGR: it keeps less of the colour than of the brightness, and must know which is which.
        coded = cv2.imencode(".jpg", cv2.cvtColor(sample.image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        return replace(sample, image=cv2.cvtColor(cv2.imdecode(coded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))
