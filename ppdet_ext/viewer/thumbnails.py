"""Pictures as a browser takes them: small ones, made when they are first looked at and kept, and whole ones."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import cv2
import numpy as np
import simplejpeg

from ppdet_ext.data.images import jpeg
from ppdet_ext.data.images.decode import read_image_of
from ppdet_ext.data.images.depth import AS_SHOWN, Reading
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomically

from .catalogue import Item

LONGEST = 640  # px, of a small picture's longer side; a strip of 1600 x 256 becomes 640 x 102
_QUALITY = 82
_BATCH = 1 << 22  # bytes of a file that are read to tell its kind


class Thumbnails:
    """Small JPEGs of pictures, in a folder; a file's path, size and time of change tell whether it is the same.

    Args:
        folder: where they are kept. It is no matter if it cannot be written: then each is made when asked for.
        reading: how deep pictures become 8 bits.
    """

    def __init__(self, folder: Path, reading: Reading = AS_SHOWN) -> None:
        self.folder, self.reading = folder, reading

    def of(self, item: Item) -> bytes:
        """The JPEG of a picture. Raises: UserError for a file that cannot be read."""
        path = self.folder / f"{_stamp(item)}.jpg"
        try:
            return path.read_bytes()
        except OSError:
            pass
        data = small_jpeg(item, self.reading)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_atomically(path, data)
        except OSError:
            # A full or read-only disk: it is made again next time.
            pass
        return data


def small_jpeg(item: Item, reading: Reading = AS_SHOWN) -> bytes:
    """A JPEG of at most `LONGEST` px a side."""
    scale = min(1.0, LONGEST / max(item.size))
    height, width = (max(1, round(side * scale)) for side in item.size)
    pixels = _quickly(item, height, width)
    if pixels is None:
        pixels = read_image_of(item.file, item.size, reading)
    if pixels.shape[:2] != (height, width):
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_AREA)
    return simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), quality=_QUALITY, colorspace="RGB")


def _quickly(item: Item, height: int, width: int) -> np.ndarray | None:
    """A JPEG decoded at the least of libjpeg's scales that is large enough; None where it takes more thought."""
    try:
        data = Path(item.file).read_bytes()
        frame = jpeg.frame_of(data) if jpeg.is_jpeg(data) else None
        if frame is None or frame[:2] != item.size or frame[2] != 1:
            return None
        return simplejpeg.decode_jpeg(data, min_height=height, min_width=width, min_factor=1, strict=False)
    except (OSError, ValueError):
        return None


def whole_picture(item: Item, reading: Reading = AS_SHOWN) -> tuple[bytes, str]:
    """(content, MIME type) of a picture at its full size, with the pixels where the annotations count them.

    A JPEG that nothing turns is sent as it is. What is no JPEG, or turned by EXIF, is sent as PNG.

    Raises: UserError for a file that cannot be read.
    """
    try:
        with open(item.file, "rb") as stream:
            head = stream.read(_BATCH)
            frame = jpeg.frame_of(head) if jpeg.is_jpeg(head) else None
            if frame is not None and frame[:2] == item.size and frame[2] == 1:
                return head + stream.read(), "image/jpeg"
    except OSError as error:
        raise UserError(f"{item.name} cannot be read: {error.strerror}") from error
    pixels = read_image_of(item.file, item.size, reading)
    done, data = cv2.imencode(".png", pixels[:, :, ::-1], [cv2.IMWRITE_PNG_COMPRESSION, 1])
    if not done:
        raise UserError(f"{item.name} cannot be sent as PNG.")
    return data.tobytes(), "image/png"


def _stamp(item: Item) -> str:
    """A name that changes when the file does."""
    try:
        status = os.stat(item.file)
        told = f"{os.path.abspath(item.file)}|{status.st_mtime_ns}|{status.st_size}|{item.size}|{LONGEST}"
    except OSError as error:
        raise UserError(f"{item.name} cannot be read: {error.strerror}") from error
    return hashlib.sha256(told.encode(errors="surrogateescape")).hexdigest()[:32]
