"""The first transform: from a file to pixels."""

from dataclasses import replace

import numpy as np

from ppdet_ext.data.images.decode import read_image
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_transform

from .sample import Sample


@register_transform
class ReadImage:
    """Decode the image file to (H, W, 3) uint8 RGB.

    Args:
        exif: turn the picture as its EXIF orientation says.
    """

    def __init__(self, exif: bool = True):
        self.exif = exif

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Raises: UserError when the file is unreadable or its size is not the annotated one."""
        image = read_image(sample.file, self.exif)
        height, width = image.shape[:2]
        if sample.original_size not in ((0, 0), (height, width)):
            told = "x".join(map(str, sample.original_size))
            raise UserError(
                f"{sample.file}: the picture is {height}x{width} pixels, its annotations say {told} (height x width). "
                "Correct the annotations; if the file carries an EXIF rotation they ignore, set `ReadImage: {exif: false}`."
            )
        return replace(sample, image=image, original_size=(height, width))
