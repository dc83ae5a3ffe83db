"""The first and the last transform: from a file to pixels, and from pixels to what the network takes."""

from dataclasses import replace

import cv2
import numpy as np

from ppdet_ext.data.images.decode import read_image_of
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.errors import UserError
from ppdet_ext.registry import register_transform

from .sample import Sample

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@register_transform
class ReadImage:
    """Decode the image file to (H, W, 3) uint8 RGB.

    Args:
        exif: turn the picture as its EXIF orientation says. Where the annotated size tells that the masks were drawn on the
            picture the other way round, it is read that way.
        range: how pixels of more than 8 bits become 8: "10bit", "12bit", "14bit", "full" (16 bits), [low, high], or "image",
            each picture's own percentiles; None refuses them. Pictures of 8 bits are never changed.
    """

    def __init__(self, exif: bool = True, range: str | list[float] | None = None):
        self.exif, self.range = exif, range
        self.reading = Reading.of(exif, range)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        """Raises: UserError when the file is unreadable or its size is not the annotated one."""
        image = read_image_of(sample.file, sample.original_size, self.reading)
        height, width = image.shape[:2]
        if sample.original_size not in ((0, 0), (height, width)):
            told = "x".join(map(str, sample.original_size))
            raise UserError(
                f"{sample.file}: the picture is {height}x{width} pixels, its annotations say {told} (height x width). "
                "Correct height and width, or put the picture there that was annotated."
            )
        return replace(sample, image=image, original_size=(height, width))


@register_transform
class NormalizeToCHW:
    """(pixel / 255 - mean) / std per channel, then (3, H, W) float32; of the grey picture, (1, H, W), with one number each.

    Args:
        mean, std: of R, G, B on the scale 0 to 1; ImageNet's by default, which pretrained backbones expect. One number each
            is that of grey (0.299 R + 0.587 G + 0.114 B, so just the value of a pixel that is grey).

    Raises: UserError unless they are three each, or one, and std above 0.
    """

    def __init__(self, mean: list[float] | None = None, std: list[float] | None = None):
        self.mean = list(mean if mean is not None else IMAGENET_MEAN)
        self.std = list(std if std is not None else IMAGENET_STD)
        if len(self.mean) != len(self.std) or len(self.mean) not in (1, 3):
            raise UserError(f"NormalizeToCHW: mean {self.mean} and std {self.std}; give three numbers each, or one (grey).")
        if min(self.std) <= 0:
            raise UserError(f"NormalizeToCHW.std: {self.std} is not above 0.")
        # An 8-bit pixel has 256 values: a table replaces the arithmetic and three passes over the floats.
        self.tables = [((np.arange(256) / 255 - m) / s).astype(np.float32) for m, s in zip(self.mean, self.std)]

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        return replace(sample, image=self.of_pixels(sample.image))

    def of_pixels(self, picture: np.ndarray) -> np.ndarray:
        """(H, W, 3) uint8 RGB -> (3 or 1, H, W) float32."""
        channels = cv2.split(picture) if len(self.tables) == 3 else [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)]
        image = np.empty((len(channels), *picture.shape[:2]), np.float32)
        for channel, table, out in zip(channels, self.tables, image):
            cv2.LUT(channel, table, dst=out)
        return image
