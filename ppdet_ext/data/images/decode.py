"""Strict reading of pictures: what cannot be read completely is an error, never a grey area in the training data."""

import contextlib
import io
import os
import re
from collections.abc import Iterator

import cv2
import numpy as np
import simplejpeg
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Record

from . import jpeg

_HEAD = 4096
# Holds the last chunk of a PNG.
_TAIL = 64
_PNG = b"\x89PNG\r\n\x1a\n"
_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
# What libjpeg warns of, where blocks are lost. It also warns of oddities in headers, after which every block is decoded.
_DAMAGE = re.compile("Corrupt JPEG data|Premature end of JPEG|Inconsistent progression")
# Some cameras put a byte or two between the data and the end marker; every block was decoded then.
_PADDING = re.compile(r"\b[1-4] extraneous bytes before marker 0xd9")
# OpenCV's limit, which keeps a header of 65535x65535 from asking for 12 GB.
_MOST_PIXELS = 1 << 30


def read_image(path: str, exif: bool = True) -> np.ndarray:
    """Decode a picture file to (h, w, 3) uint8 RGB.

    exif: turn the picture as its EXIF orientation says, which is what viewers show; False gives the stored pixels.
    Grey pictures are repeated over the channels, transparency is dropped.

    A JPEG must have its end marker, and libjpeg must decode every block of it without a warning: data cut short before
    the marker, overwritten or zeroed stretches, and lost restart markers are errors. What cannot be noticed is damage that
    happens to be another valid Huffman code sequence for just as many blocks, since a JPEG has no checksum (a flipped bit;
    about a third of zeroed stretches of 64 bytes, a fiftieth of those of 512 bytes), and whatever follows the end marker.

    Raises: UserError naming the file when it is missing, empty, truncated, damaged, not a picture, or deeper than 8 bits.
    """
    data = _bytes_of(path)
    image = _decode_jpeg(data, path, exif) if jpeg.is_jpeg(data) else _decode_other(data, path, exif)
    return np.ascontiguousarray(image)


def read_image_of(path: str, size: tuple[int, int], exif: bool = True) -> np.ndarray:
    """Decode as `read_image` does, turned as `size` (h, w) tells where only one of both ways has it; (0, 0) tells nothing.

    Phones' pictures of one folder can be annotated by tools that heed the EXIF orientation, and by others that do not.
    """
    image = read_image(path, exif)
    if size in ((0, 0), image.shape[:2]):
        return image
    other = read_image(path, not exif)
    return other if other.shape[:2] == size else image


def read_record(record: Record, exif: bool = True) -> np.ndarray:
    """Decode the picture of a data set's image as its reader does; see `read_image_of`."""
    return read_image_of(record.file, (record.height, record.width), exif)


def image_size(path: str, exif: bool = True) -> tuple[int, int]:
    """(height, width) from the file's header, without decoding; about 20 µs for a JPEG in the page cache.

    Raises: UserError naming the file when there is no readable header.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(_HEAD)
        if jpeg.is_jpeg(head):
            # EXIF data with a thumbnail can put the frame header far behind.
            frame = jpeg.frame_of(head) or jpeg.frame_of(_bytes_of(path))
            if frame is not None:
                height, width, orientation = frame
                return (width, height) if exif and orientation in _SIDEWAYS else (height, width)
        with _strict_pillow(), Image.open(path) as picture:
            width, height = _checked_size(picture, path)
            # Pillow turns the pixels of a TIFF itself, and tells their size turned.
            turned = exif and picture.format != "TIFF" and picture.getexif().get(_ORIENTATION) in _SIDEWAYS
    except (OSError, UnidentifiedImageError, SyntaxError) as fault:
        raise _unreadable(path, fault) from fault
    return (width, height) if turned else (height, width)


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
            if start == _PNG and b"IEND" not in tail:
                raise _truncated(path, "PNG", os.path.getsize(path))
    except OSError as fault:
        raise _unreadable(path, fault) from fault


def _truncated(path: str, form: str, size: int) -> UserError:
    return UserError(
        f"{path}: the {form} is truncated ({size} bytes, its end is missing). "
        "Fetch the picture again, or leave it out of the data set."
    )


def _bytes_of(path: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as fault:
        raise _unreadable(path, fault) from fault
    if not data:
        raise UserError(f"{path}: the file is empty. Fetch the picture again, or leave it out of the data set.")
    return data


def _decode_jpeg(data: bytes, path: str, exif: bool) -> np.ndarray:
    # A file cut in its header would otherwise be told by words about subsampling (30 µs at 100 kB).
    if not jpeg.is_complete(data):
        raise _truncated(path, "JPEG", len(data))
    frame = jpeg.frame_of(data)
    if frame is None or frame[0] * frame[1] > _MOST_PIXELS:
        raise _unreadable(path, "the JPEG data is damaged: no frame header tells a possible size")
    try:
        image = simplejpeg.decode_jpeg(data, strict=True)
    except ValueError as fault:
        if _DAMAGE.search(str(fault)) and not _PADDING.search(str(fault)):
            raise _unreadable(path, f"the JPEG data is damaged: {fault}") from fault
        image = _decode_odd_jpeg(data, path)
    return _turned(image, frame[2] if exif else 1)


def _decode_odd_jpeg(data: bytes, path: str) -> np.ndarray:
    """Decode what has all of its blocks, but an odd header, or a colour space that simplejpeg does not convert."""
    try:
        return simplejpeg.decode_jpeg(data, strict=False)
    except ValueError as fault:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION)
        if image is None:
            raise _unreadable(path, f"the JPEG data is damaged: {fault}") from fault
        return image


def _turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w, 3) as EXIF's orientation, 1 to 8, says."""
    if orientation in _SIDEWAYS:
        image = image.transpose(1, 0, 2)
    across, down = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return image[:: -1 if down else 1, :: -1 if across else 1]


def _decode_other(data: bytes, path: str, exif: bool) -> np.ndarray:
    # Pillow raises on truncated PNG, BMP, TIFF and WebP; OpenCV returns what it has.
    try:
        with _strict_pillow(), Image.open(io.BytesIO(data)) as picture:
            _checked_size(picture, path)
            if picture.mode[0] in "IF":
                raise UserError(f"{path}: {picture.mode} pixels are deeper than 8 bits. Convert the picture to 8 bits.")
            if exif:
                picture = ImageOps.exif_transpose(picture)
            return np.asarray(picture.convert("RGB"))
    except (OSError, UnidentifiedImageError, SyntaxError) as fault:
        raise _unreadable(path, fault) from fault


def read_label_map(path: str) -> np.ndarray:
    """Read a single-channel 8-bit label map (COCO-stuff's PNG) as (h, w) uint8. Raises: UserError naming the file."""
    try:
        with _strict_pillow(), Image.open(io.BytesIO(_bytes_of(path))) as picture:
            _checked_size(picture, path)
            if picture.mode not in ("L", "P"):
                raise UserError(f"{path}: a label map has one 8-bit channel, this picture has mode {picture.mode}.")
            return np.array(picture)
    except (OSError, UnidentifiedImageError, SyntaxError) as fault:
        raise _unreadable(path, fault) from fault


@contextlib.contextmanager
def _strict_pillow() -> Iterator[None]:
    # ppdet sets this process-wide switch, which makes Pillow fill up truncated pictures, too.
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    # A user's own scan of 195 megapixels is no attack; `_checked_size` has a limit of its own.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before, limit


def _checked_size(picture: Image.Image, path: str) -> tuple[int, int]:
    """(width, height) as the header says. UserError where no picture can be that large."""
    width, height = picture.size
    if width * height > _MOST_PIXELS:
        raise UserError(f"{path}: {width}x{height} pixels are more than can be read ({_MOST_PIXELS:,}). Cut it into pieces.")
    return width, height


def _unreadable(path: str, fault: object) -> UserError:
    if not os.path.exists(path):
        return UserError(f"{path}: no such picture. Check the folder and the name in the annotations.")
    reason = getattr(fault, "strerror", None) or str(fault).replace(path, "file")
    return UserError(f"{path}: cannot be read as a picture ({reason}). Fetch it again, or leave it out of the data set.")
