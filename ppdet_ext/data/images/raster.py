"""Picture files that are no JPEG, as they are stored: of any depth, read strictly, never cut to eight bits."""

import contextlib
import io
import itertools
import os
import re
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
from PIL import Image, ImageFile, UnidentifiedImageError

from ppdet_ext.errors import UserError, closest, counted

from .jpeg import is_jpeg

# OpenCV's limit, which keeps a header of 65535x65535 from asking for 12 GB.
MOST_PIXELS = 1 << 30
SIDEWAYS = (5, 6, 7, 8)
_HEAD = 4096
_MOST_NEAR = 10_000  # files of a folder that are looked through for a near name
PNG = b"\x89PNG\r\n\x1a\n"
_PNG_DEPTH = 24
_PNG_TEXTS, _PNG_PROFILES, _KEYWORD = (b"tEXt", b"zTXt", b"iTXt"), (b"Raw profile type", b"XML:com.adobe.xmp"), 32
_UNKNOWN_TIFF = "this kind of TIFF is not known here. Save it as grey or RGB of 8 or 16 bits."
# (place, lower-case bytes there, what to say) of what is found under the names of pictures.
_NO_PICTURES = (
    *((0, mark, _UNKNOWN_TIFF) for mark in (b"ii*\0", b"mm\0*", b"ii+\0", b"mm\0+")),
    (4, b"ftyphei", "it is HEIC, as of phones. Convert it to JPEG or PNG."),
    (4, b"ftypavif", "it is AVIF. Convert it to JPEG or PNG."),
    (128, b"dicm", "it is DICOM. Convert it to a PNG of 16 bits."),
    (0, b"version https://git-lfs", "it is a Git LFS pointer. Fetch the picture itself: git lfs pull"),
    (0, b"<!doctype html", "it is a web page, such as a login or an error. Fetch the picture again, logged in."),
    (0, b"<html", "it is a web page, such as a login or an error. Fetch the picture again, logged in."),
    (0, b"<svg", "it is SVG. Convert it to PNG."),
    (0, b"%pdf", "it is PDF. Convert each page to PNG."),
    (0, b"pk\x03\x04", "it is a ZIP archive. Unpack it."),
    (0, b"\x1f\x8b", "it is packed by gzip. Unpack it."),
    (0, b"v/1\x01", "it is OpenEXR. Convert it to a TIFF of 32-bit float, or a PNG of 16 bits."),
)
# Width, height and the largest value of a colour PPM, where comments may stand between them.
_PPM = re.compile(rb"P6\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*\d+\s+(?:#[^\n]*\n\s*)*(\d+)\s")
# JPEG 2000's marker of sizes; its first component's depth, less one, stands so far behind.
_JP2_SIZES, _JP2_DEPTH = b"\xff\x4f\xff\x51", 42
_ORIENTATION, _WIDTH, _HEIGHT, _BITS, _PHOTOMETRIC, _KIND_OF_PAGE = 0x0112, 0x0100, 0x0101, 0x0102, 0x0106, 0x00FE
# Which orientation undoes one: only the quarter turns are not their own inverse.
_UNDONE = {6: 8, 8: 6}
_GREY_MODES = ("I", "F")


def turned(image: np.ndarray, orientation: int) -> np.ndarray:
    """(h, w, ...) as EXIF's orientation, 1 to 8, says."""
    if orientation in SIDEWAYS:
        image = image.swapaxes(0, 1)
    across, down = orientation in (2, 3, 6, 7), orientation in (3, 4, 7, 8)
    return image[:: -1 if down else 1, :: -1 if across else 1]


def stored_pixels(data: bytes, path: str, exif: bool = True) -> np.ndarray:
    """Decode the content of a file: (h, w, 3) uint8 RGB, or what is deeper, (h, w) or (h, w, 3), as it is stored.

    Of transparent pixels the stored colour counts. A TIFF of grey that counts down from white is turned to count up.

    Raises: UserError naming the file when it is damaged, no picture, or has several pages.
    """
    with opened(io.BytesIO(data), path) as picture:
        way, form = orientation(picture), picture.format
        pixels = _deep(picture, data, path) if _is_deep(picture, data) else _as_8_bits(picture)
    if form == "TIFF":
        # Pillow has turned its pixels.
        return pixels if exif else turned(pixels, _UNDONE.get(way, way))
    return turned(pixels, way) if exif else pixels


def _as_8_bits(picture: Image.Image) -> np.ndarray:
    # Pillow warns of a palette's transparency, which is not used.
    picture.load()
    picture.info.pop("transparency", None)
    return np.asarray(picture.convert("RGB"))


def is_deep(path: str) -> bool:
    """Whether the header of a file that is no JPEG tells of more than 8 bits. Raises: UserError naming the file."""
    head = head_of(path)
    if is_jpeg(head):
        return False
    with opened(path, path) as picture:
        return _is_deep(picture, head)


def _is_deep(picture: Image.Image, data: bytes) -> bool:
    if picture.mode.startswith(_GREY_MODES):
        return True
    # Pillow makes 8 bits of deeper colours, and of deeper grey with transparency, without a word.
    if data[:8] == PNG:
        return data[_PNG_DEPTH] > 8
    if found := _PPM.match(data[:_HEAD]):
        return int(found[1]) > 0xFF
    if picture.format == "JPEG2000" and (at := data[:_HEAD].find(_JP2_SIZES)) >= 0:
        return data[at + _JP2_DEPTH] & 0x7F > 7
    return picture.format == "TIFF" and max(_tags(picture).get(_BITS, (1,))) > 8


def _deep(picture: Image.Image, data: bytes, path: str) -> np.ndarray:
    """(h, w) of grey: uint16, int32 or float32; (h, w, 3) uint16 of colours. Turned, of a TIFF, as Pillow does."""
    if picture.mode.startswith(_GREY_MODES):
        inverted = picture.format == "TIFF" and _tags(picture).get(_PHOTOMETRIC) == 0
        pixels = np.asarray(picture)
        if pixels.dtype != np.float32 and pixels.size and pixels.min() >= 0 and pixels.max() <= 0xFFFF:
            # Pillow's I holds 16 bits, too, as it did for all of PNG's before its version 11.
            pixels = pixels.astype(np.uint16)
            return 0xFFFF - pixels if inverted else pixels
        return pixels.astype(pixels.dtype.newbyteorder("="))
    # Pillow tells that the data are whole, and the high bytes; OpenCV decodes both bytes but would take half a file.
    high = np.asarray(picture.convert("RGB"))
    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if found is not None and found.dtype == np.uint16:
        colours = _as_rgb(found)
        for candidate in (colours, turned(colours, orientation(picture))):
            if candidate.shape == high.shape and np.array_equal(candidate >> 8, high):
                return candidate
    raise UserError(
        f"{path}: pixels of {picture.mode} with 16 bits cannot be read from this file. Save it as 16-bit RGB or 8 bits."
    )


def _as_rgb(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3) of what OpenCV has decoded, without transparency."""
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    return pixels[..., 2::-1] if pixels.shape[2] >= 3 else np.repeat(pixels[..., :1], 3, axis=2)


def header_size(picture: Image.Image, exif: bool) -> tuple[int, int]:
    """(height, width) of an opened picture, before or after its orientation."""
    width, height = picture.size
    if picture.format == "TIFF":
        # Pillow tells it turned, from version 11.1 on.
        width, height = _tags(picture)[_WIDTH], _tags(picture)[_HEIGHT]
    return (width, height) if exif and orientation(picture) in SIDEWAYS else (height, width)


def _tags(picture: Image.Image) -> dict[int, Any]:
    return getattr(picture, "tag_v2", {})


def orientation(picture: Image.Image) -> int:
    """EXIF's, 1 to 8; 1 where there is none or one that means nothing."""
    if picture.format == "PNG" and not _png_may_tell(picture):
        return 1
    tags = _tags(picture) if picture.format == "TIFF" else picture.getexif()
    found = tags.get(_ORIENTATION, 1)
    return found if found in range(1, 9) else 1


def _png_may_tell(picture: Image.Image) -> bool:
    """Whether a PNG has a chunk that can hold an orientation. Pillow decodes all pixels to look for one behind them."""
    file = getattr(picture, "fp", None)
    if file is None:
        return True
    place = file.tell()
    try:
        file.seek(len(PNG))
        while len(head := file.read(8)) == 8 and head[4:] != b"IEND":
            size, kind = int.from_bytes(head[:4], "big"), head[4:]
            keyword = file.read(min(size, _KEYWORD)) if kind in _PNG_TEXTS else b""
            if kind == b"eXIf" or keyword.startswith(_PNG_PROFILES):
                return True
            file.seek(size - len(keyword) + 4, os.SEEK_CUR)
        return False
    finally:
        file.seek(place)


@contextlib.contextmanager
def opened(source: str | io.BytesIO, path: str) -> Iterator[Image.Image]:
    """A picture opened with Pillow. Raises: UserError naming the file for all that goes wrong with it inside of the block."""
    try:
        with strict_pillow(), Image.open(source) as picture:
            _check(picture, path)
            yield picture
    except UserError:
        raise
    # Pillow has no common ancestor for what it says of damaged files, and of modes that it cannot convert.
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, OverflowError) as fault:
        raise unreadable(path, fault) from fault


@contextlib.contextmanager
def strict_pillow() -> Iterator[None]:
    """Within the block Pillow refuses truncated pictures, and has no limit of pixels; the caller has."""
    # ppdet sets this process-wide switch, which makes Pillow fill up truncated pictures, too.
    before, ImageFile.LOAD_TRUNCATED_IMAGES = ImageFile.LOAD_TRUNCATED_IMAGES, False
    # A user's own scan of 195 megapixels is no attack; `_check` has a limit of its own.
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS = before, limit


def _check(picture: Image.Image, path: str) -> None:
    """UserError where the header tells a size that no picture has, or several pages."""
    width, height = picture.size
    if width * height > MOST_PIXELS:
        raise UserError(f"{path}: {width}x{height} pixels are more than can be read ({MOST_PIXELS:,}). Cut it into pieces.")
    if picture.format == "TIFF" and (pages := _full_pages(picture)) > 1:
        raise UserError(
            f"{path}: the TIFF has {counted(pages, 'pages')}, and nothing tells which one is meant. Save each page, or the one "
            "that was annotated, as a file of its own."
        )


def _full_pages(picture: Any) -> int:
    """Number of a TIFF's pages that are no thumbnails, pyramid levels or transparency masks of another (tag 254)."""
    count = getattr(picture, "n_frames", 1)
    if count == 1:
        return 1
    full = 0
    for page in range(count):
        picture.seek(page)
        full += not _tags(picture).get(_KIND_OF_PAGE, 0) & 0b101
    picture.seek(0)
    return full


def head_of(path: str) -> bytes:
    """The first bytes of a file, 4096 where there are so many. Raises: UserError naming it when it cannot be read."""
    try:
        return _head(path)
    except OSError as fault:
        raise unreadable(path, fault) from fault


def _head(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(_HEAD)


def bytes_of(path: str) -> bytes:
    """Content of a file. Raises: UserError naming it when it cannot be read or is empty."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as fault:
        raise unreadable(path, fault) from fault
    if not data:
        raise UserError(f"{path}: the file is empty. Fetch the picture again, or leave it out of the data set.")
    return data


def _what_is(head: bytes, name: str) -> str:
    """What a file is that Pillow does not know, and what to do about it."""
    if name.startswith("._"):
        return "it is what macOS puts beside one. Leave it out."
    for at, beginning, told in _NO_PICTURES:
        if head[at:].lstrip(b"\r\n ").lower().startswith(beginning):
            return told
    return "it is of no kind that is known here. Fetch it again, or leave it out of the data set."


def unreadable(path: str, fault: object) -> UserError:
    """The error for a file that is missing, or no picture."""
    if not os.path.exists(path):
        folder = os.path.dirname(path) or "."
        if not os.path.isdir(folder):
            return UserError(f"{path}: no such picture, for there is no folder {folder}. Check the path.")
        names = itertools.islice((entry.name for entry in os.scandir(folder)), _MOST_NEAR)
        # The suffix alone makes short names alike.
        near = closest(os.path.basename(path), names, cutoff=0.75)
        hint = f" There is {os.path.join(os.path.dirname(path), near[0])}." if near else ""
        return UserError(f"{path}: no such picture.{hint} Check the path.")
    if isinstance(fault, UnidentifiedImageError):
        return UserError(f"{path}: cannot be read as a picture; {_what_is(_head(path), os.path.basename(path))}")
    reason = getattr(fault, "strerror", None) or str(fault).replace(path, "file")
    return UserError(f"{path}: cannot be read as a picture ({reason}). Fetch it again, or leave it out of the data set.")
