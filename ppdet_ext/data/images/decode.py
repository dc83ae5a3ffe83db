"""Strict reading of pictures: what cannot be read completely is an error, never a grey area in the training data."""

import io
import os
import re
from dataclasses import replace

import cv2
import numpy as np
import simplejpeg

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Record

from . import jpeg
from .depth import AS_SHOWN, Reading, to_8_bits
from .raster import (
    MOST_PIXELS,
    PNG,
    SIDEWAYS,
    bytes_of,
    head_of,
    header_size,
    opened,
    orientation,
    stored_pixels,
    turned,
    unreadable,
)

# Holds the last chunk of a PNG.
_TAIL = 64
# What libjpeg warns of, where blocks are lost. It also warns of oddities in headers, after which every block is decoded.
_DAMAGE = re.compile("Corrupt JPEG data|Premature end of JPEG|Inconsistent progression")
# Some cameras put a byte or two between the data and the end marker; every block was decoded then.
_PADDING = re.compile(r"\b[1-4] extraneous bytes before marker 0xd9")


def read_image(path: str, reading: Reading = AS_SHOWN) -> np.ndarray:
    """Decode a picture file to (h, w, 3) uint8 RGB.

    Grey pictures are repeated over the channels. Of transparent pixels the stored colour counts. CMYK becomes RGB as OpenCV
    (JPEG, with Adobe's inversion) and Pillow (TIFF) do it, without a colour profile. What is deeper than 8 bits becomes 8 bits
    as `reading.range` says.

    A JPEG must have its end marker, and libjpeg must decode every block of it without a warning: data cut short before
    the marker, overwritten or zeroed stretches, and lost restart markers are errors. What cannot be noticed is damage that
    happens to be another valid Huffman code sequence for just as many blocks, since a JPEG has no checksum (a flipped bit;
    about a third of zeroed stretches of 64 bytes, a fiftieth of those of 512 bytes), and whatever follows the end marker.

    Raises: UserError naming the file when it is missing, empty, truncated, damaged, not a picture, several pages, or deeper
    than 8 bits where `reading` does not say, or not in a way that fits, how it becomes 8 bits.
    """
    data = bytes_of(path)
    if jpeg.is_jpeg(data):
        return np.ascontiguousarray(_decode_jpeg(data, path, reading.exif))
    pixels = stored_pixels(data, path, reading.exif)
    return np.ascontiguousarray(pixels if pixels.dtype == np.uint8 else to_8_bits(pixels, reading.range, path))


def read_image_of(path: str, size: tuple[int, int], reading: Reading = AS_SHOWN) -> np.ndarray:
    """Decode as `read_image` does, turned as `size` (h, w) tells where only one of both ways has it; (0, 0) tells nothing.

    Phones' pictures of one folder can be annotated by tools that heed the EXIF orientation, and by others that do not.
    """
    image = read_image(path, reading)
    if size in ((0, 0), image.shape[:2]):
        return image
    other = read_image(path, replace(reading, exif=not reading.exif))
    return other if other.shape[:2] == size else image


def read_record(record: Record, reading: Reading = AS_SHOWN) -> np.ndarray:
    """Decode the picture of a data set's image as its reader does; see `read_image_of`."""
    return read_image_of(record.file, (record.height, record.width), reading)


def image_size(path: str, exif: bool = True) -> tuple[int, int]:
    """(height, width) from the file's header, without decoding; about 20 µs for a JPEG in the page cache.

    Raises: UserError naming the file when there is no readable header.
    """
    head = head_of(path)
    if jpeg.is_jpeg(head):
        # EXIF data with a thumbnail can put the frame header far behind.
        frame = jpeg.frame_of(head) or jpeg.frame_of(bytes_of(path))
        if frame is not None:
            height, width, way = frame
            return (width, height) if exif and way in SIDEWAYS else (height, width)
    with opened(path, path) as picture:
        return header_size(picture, exif)


def orientation_of(path: str) -> int:
    """EXIF's orientation, 1 to 8, from a file's header; 1 where it tells none. Raises: UserError as `image_size`."""
    head = head_of(path)
    frame = jpeg.frame_of(head) or jpeg.frame_of(bytes_of(path)) if jpeg.is_jpeg(head) else None
    if frame is not None:
        return frame[2]
    with opened(path, path) as picture:
        return orientation(picture)


def check_end(path: str) -> None:
    """Look whether a JPEG or PNG file ends as it must, without decoding; about 10 µs for a file in the page cache.

    Whole files are read only where bytes follow a JPEG's end marker. Other formats are taken as they are.

    Raises: UserError naming the file when it cannot be read or its end is missing.
    """
    try:
        with open(path, "rb", buffering=0) as file:
            start = file.read(8)
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            tail = file.read(_TAIL)
            if jpeg.is_jpeg(start) and not tail.endswith(jpeg.END):
                file.seek(0)
                data = file.read()
                if not jpeg.is_complete(data):
                    raise _truncated(path, "JPEG", len(data))
            if start == PNG and b"IEND" not in tail:
                raise _truncated(path, "PNG", os.path.getsize(path))
    except OSError as fault:
        raise unreadable(path, fault) from fault


def _truncated(path: str, form: str, size: int) -> UserError:
    return UserError(
        f"{path}: the {form} is truncated ({size} bytes, its end is missing). "
        "Fetch the picture again, or leave it out of the data set."
    )


def _decode_jpeg(data: bytes, path: str, exif: bool) -> np.ndarray:
    # A file cut in its header would otherwise be told by words about subsampling (30 µs at 100 kB).
    if not jpeg.is_complete(data):
        raise _truncated(path, "JPEG", len(data))
    frame = jpeg.frame_of(data)
    if frame is None or frame[0] * frame[1] > MOST_PIXELS:
        raise unreadable(path, "the JPEG data is damaged: no frame header tells a possible size")
    try:
        image = simplejpeg.decode_jpeg(data, strict=True)
    except ValueError as fault:
        if _DAMAGE.search(str(fault)) and not _PADDING.search(str(fault)):
            raise unreadable(path, f"the JPEG data is damaged: {fault}") from fault
        image = _decode_odd_jpeg(data, path)
    return turned(image, frame[2] if exif else 1)


def _decode_odd_jpeg(data: bytes, path: str) -> np.ndarray:
    """Decode what has all of its blocks, but an odd header, or a colour space that simplejpeg does not convert."""
    try:
        return simplejpeg.decode_jpeg(data, strict=False)
    except ValueError as fault:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise unreadable(path, f"the JPEG data is damaged: {fault}") from fault
        # OpenCV before 4.11, which pip installs beside paddledet, cannot be asked for RGB.
        return image[:, :, ::-1]


def read_label_map(path: str) -> np.ndarray:
    """Read a single-channel 8-bit label map (COCO-stuff's PNG) as (h, w) uint8. Raises: UserError naming the file."""
    with opened(io.BytesIO(bytes_of(path)), path) as picture:
        if picture.mode not in ("L", "P"):
            raise UserError(f"{path}: a label map has one 8-bit channel, this picture has mode {picture.mode}.")
        return np.array(picture)
