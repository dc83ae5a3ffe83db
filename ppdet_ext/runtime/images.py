"""Images as callers hand them in: pixels of several layouts, Pillow's, files, folders, and many of them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ppdet_ext.data.images.check import pictures_in
from ppdet_ext.data.images.decode import image_size, read_image_of
from ppdet_ext.data.images.depth import AS_SHOWN, Reading, to_8_bits
from ppdet_ext.errors import UserError
from ppdet_ext.registry import one_of

CHANNELS = ("rgb", "bgr")
# One image, as the rest of the library takes it: (h, w, 3) uint8 RGB, or a file.
Picture = np.ndarray | Path


def is_one(images: Any) -> bool:
    """Whether it is a single image: pixels (h, w) or (h, w, c), a picture of Pillow's, or a path that is no folder."""
    if isinstance(images, (str, os.PathLike)):
        return not Path(images).is_dir()
    return (isinstance(images, np.ndarray) and images.ndim < 4) or hasattr(images, "getbands")


def is_list(images: Any) -> bool:
    """Whether all images are at hand: a list, a tuple, or pixels (n, h, w, c)."""
    return isinstance(images, (Sequence, np.ndarray)) and not isinstance(images, (str, bytes))


def pictures_of(images: Any, channels: str, reading: Reading = AS_SHOWN) -> Iterator[Picture]:
    """Each of them, taken when it is asked for.

    Raises: UserError at once for a folder without pictures, and what is no image; the rest when its turn comes.
    """
    one_of(channels, CHANNELS, "channels")
    if isinstance(images, (str, os.PathLike)) and Path(images).is_dir():
        images = pictures_in(os.fspath(images))
        for file in images:
            # What is no picture is said at once.
            image_size(file)
    elif is_one(images):
        images = [images]
    elif not isinstance(images, Iterable) or isinstance(images, (bytes, dict)):
        raise UserError(f"{type(images).__name__} is no image: {_EXPECTED}.")
    return (picture_of(image, channels, reading) for image in images)


_EXPECTED = "give pixels (h, w, 3) or (h, w) uint8, a file, a folder, or a list or an iterator of such"


def picture_of(image: Any, channels: str, reading: Reading = AS_SHOWN) -> Picture:
    """One image as a file, or as (h, w, 3) uint8 RGB. Raises: UserError for pixels of another shape or type.

    reading: whose range says how pixels of other types than uint8 become that, as in files.
    """
    if isinstance(image, (str, os.PathLike)):
        return Path(image)
    if hasattr(image, "getbands"):
        if image.mode[0] not in "IF":
            # Pillow's own order is RGB, whatever that of other images is.
            return np.ascontiguousarray(np.asarray(image.convert("RGB")))
        # Of deeper ones `convert` would cut off what is above 255.
        image = np.asarray(image)
    if not isinstance(image, np.ndarray):
        raise UserError(f"{type(image).__name__} is no image: {_EXPECTED}.")
    if image.ndim == 3 and image.shape[2] == 1:
        image = image[:, :, 0]
    if 0 in image.shape or image.ndim not in (2, 3) or (image.ndim == 3 and image.shape[2] != 3):
        raise UserError(f"The image's shape is {image.shape}; expected (h, w, 3), or (h, w) of a grey one.{_hint(image.shape)}")
    if image.dtype != np.uint8:
        image = _as_8_bits(image, reading)
    if image.ndim == 2:
        return cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_GRAY2RGB)
    return np.ascontiguousarray(in_channels(image, channels))


def _as_8_bits(image: np.ndarray, reading: Reading) -> np.ndarray:
    if reading.range is not None and image.dtype.kind in "uif":
        return to_8_bits(image, reading.range, "The image")
    raise UserError(
        f"The image's pixels are {image.dtype}; expected uint8, 0 to 255. Convert them as those that the model was trained on: "
        "from 0 to 1 by (image * 255).round().astype('uint8'); of deeper cameras by TestReader's ReadImage: {range: …}."
    )


def _hint(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[2] == 4:
        return " Leave the alpha channel out: image[:, :, :3]."
    if len(shape) == 3 and shape[0] in (1, 3):
        return " Put the channels last: image.transpose(1, 2, 0)."
    return ""


def in_channels(image: np.ndarray, channels: str) -> np.ndarray:
    """(h, w, 3) RGB in the order of `channels`, or back."""
    return image if one_of(channels, CHANNELS, "channels") == "rgb" else np.ascontiguousarray(image[:, :, ::-1])


def as_rgb(image: Any, channels: str, size: tuple[int, int] = (0, 0), reading: Reading = AS_SHOWN) -> np.ndarray:
    """One image as (h, w, 3) uint8 RGB; of a file its pixels, see `read_image_of`. Raises: UserError for what is no image."""
    picture = picture_of(image, channels, reading)
    return picture if isinstance(picture, np.ndarray) else read_image_of(str(picture), size, reading)
