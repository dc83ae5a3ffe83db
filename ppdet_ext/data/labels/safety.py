"""Reading what strangers have made: JSON, XML, base64, zlib, PNG and names, bounded, and refused by name."""

from __future__ import annotations

import base64
import binascii
import csv
import io
import json
import os
import re
import zlib
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from PIL import Image, UnidentifiedImageError

from ppdet_ext.data.images.raster import strict_pillow
from ppdet_ext.errors import UserError

# JPEG's limit; it also keeps the number of pixels inside pycocotools' 32 bits.
LONGEST_SIDE = 65535
MOST_PIXELS = 1 << 29
# Of one object's mask as base64 or zlib.
MOST_PACKED = 1 << 26
_LARGEST_PNG = 1 << 29  # bytes of its pixels
# Parsed JSON takes five to ten times the size of its file.
_LARGEST_FILE = 4 << 30
# The deepest of all formats (Label Studio's exports) has eight levels.
_DEEPEST_XML = 64
_LONGEST_NAME = 1024
_LONGEST_CELL = 1 << 26
_PNG = b"\x89PNG\r\n\x1a\n"
_BIT_DEPTH, _COLOUR = 24, 25  # positions in a PNG, whose first chunk is IHDR
_DRIVE = re.compile("[A-Za-z]:")
_CONTROL = re.compile("[\x00-\x1f\x7f]")
_OTHER_FILES = {
    b"\x1f\x8b": "it is compressed by gzip; unpack it first",
    b"PK\x03\x04": "it is a ZIP archive; unpack it, and name the folder",
    b"version https://git-lfs": "it is a pointer of Git LFS; fetch the file itself (git lfs pull)",
}


def read_json(path: str) -> Any:
    """The content of a JSON file, in UTF-8, -16 or -32. NaN and Infinity become the floats of that name.

    Raises: UserError naming the file when it cannot be read, is no JSON, is cut off, or nested too deeply.
    """
    data = _bytes_of(path)
    try:
        return json.loads(data)
    except RecursionError:
        raise UserError(f"{path}: nested too deeply for a file of labels.") from None
    except ValueError as fault:
        raise UserError(f"{path}: not JSON, or not all of it ({fault}). {_hint(data)}") from None


def read_text(path: str) -> str:
    """The content of a text file, in UTF-8 or -16. Raises: UserError naming the file when it cannot be read, or is neither."""
    data = _bytes_of(path)
    coding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        return data.decode(coding)
    except UnicodeDecodeError as fault:
        raise UserError(f"{path}: byte {fault.start} is no text in UTF-8. Save it again in that coding.") from None


def read_csv(path: str) -> Iterator[list[str]]:
    """The rows of a CSV, the first of them the header. Raises: UserError naming the file and line for what is none."""
    # A cell may hold a polygon of many points.
    csv.field_size_limit(max(_LONGEST_CELL, csv.field_size_limit()))
    rows = csv.reader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    try:
        yield from rows
    except csv.Error as fault:
        raise UserError(f"{path}: line {rows.line_num} is none of a CSV ({fault}).") from None


def read_xml(path: str) -> ElementTree.Element:
    """The root element of an XML file.

    Raises: UserError naming the file when it cannot be read, is no XML, is cut off, nested too deeply, or defines a document
        type: no label tool writes one, and entities in it can grow to gigabytes or read other files.
    """
    data = _bytes_of(path)
    parser, builder = expat.ParserCreate(), ElementTree.TreeBuilder()
    depth = 0

    def start(tag: str, attributes: dict[str, str]) -> None:
        nonlocal depth
        depth += 1
        if depth > _DEEPEST_XML:
            raise UserError(f"{path}: elements nested more than {_DEEPEST_XML} deep are no file of labels.")
        builder.start(tag, attributes)

    def end(tag: str) -> None:
        nonlocal depth
        depth -= 1
        builder.end(tag)

    def refuse(*_: object) -> None:
        raise UserError(f"{path}: defines a document type or entities (<!DOCTYPE …>), which no label tool writes. Refused.")

    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = start, end, builder.data
    parser.StartDoctypeDeclHandler = parser.EntityDeclHandler = refuse
    try:
        parser.Parse(data, True)
        return builder.close()
    except (expat.ExpatError, ValueError, LookupError) as fault:
        if isinstance(fault, UserError):
            raise
        raise UserError(f"{path}: not XML, or not all of it ({fault}). {_hint(data)}") from None


def _bytes_of(path: str) -> bytes:
    try:
        size = os.path.getsize(path)
        if size > _LARGEST_FILE:
            raise UserError(f"{path}: {size >> 20} MiB of labels are more than can be read at once. Export in parts.")
        with open(path, "rb") as file:
            data = file.read()
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({fault.strerror}).") from None
    except MemoryError:
        raise UserError(f"{path}: {size >> 20} MiB need more memory than is free. Export in parts.") from None
    check_start(path, data)
    return data


def check_start(path: str, start: bytes) -> None:
    """Refuse a file that is empty or packed, by its first bytes. Raises: UserError naming it, with what to do."""
    if not start.strip():
        raise UserError(f"{path}: the file is empty. Export it again.")
    for mark, reason in _OTHER_FILES.items():
        if start.startswith(mark):
            raise UserError(f"{path}: {reason}.")


def _hint(data: bytes) -> str:
    last = data[-64:].rstrip()[-1:]
    return "Export it again." if last in b"}]>" else "Its end is missing: export it again."


def decode_base64(text: Any, limit: int, where: str) -> bytes:
    """The bytes of a base64 text, blanks and line ends within it passed over.

    Args:
        limit: most bytes that it may hold.
        where: file and place, for messages.

    Raises: UserError for what is no base64, or holds more.
    """
    if not isinstance(text, str):
        raise UserError(f"{where}: {str(text)[:40]!r} is no base64 text.")
    try:
        data = base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError) as fault:
        raise UserError(f"{where}: no base64 text ({fault}).") from None
    if len(data) > limit:
        raise UserError(f"{where}: {len(data)} bytes of base64 are more than the {limit} that can stand here.")
    return data


def inflate(data: bytes, limit: int, where: str) -> bytes:
    """What zlib has compressed to `data`. Raises: UserError for no such data, for more than `limit` bytes, and if cut off."""
    packed = zlib.decompressobj()
    try:
        plain = packed.decompress(data, limit + 1)
    except zlib.error as fault:
        raise UserError(f"{where}: not compressed by zlib ({fault}).") from None
    if len(plain) > limit:
        raise UserError(f"{where}: unpacks to more than the {limit} bytes that can stand here.")
    if not packed.eof:
        raise UserError(f"{where}: the compressed data is cut off.")
    return plain


def open_png(source: bytes | str, where: str = "", limit: int = MOST_PIXELS) -> np.ndarray:
    """A PNG, from its bytes or its path, as it is stored: never converted.

    Returns: (h, w) indices of a palette (uint8), bool, grey (uint8, or 16 bits as int32); (h, w, c) uint8 of c channels.

    Args:
        where: file and place, for messages; the path by default.
        limit: most pixels that it may have; looked at before a pixel is unpacked.

    Raises: UserError for what is no PNG (lossy files have false ids), damaged, of more pixels, or of 16 bits a colour.
    """
    where = where or str(source)
    data = source if isinstance(source, bytes) else _bytes_of(source)
    if not data.startswith(_PNG) or len(data) <= _COLOUR:
        raise UserError(f"{where}: not a PNG. Other formats, JPEG above all, change the numbers that masks are made of.")
    if data[_BIT_DEPTH] == 16 and data[_COLOUR] in (2, 6):
        raise UserError(f"{where}: 16 bits a colour are no mask. Save it with 8 bits, or as grey.")
    try:
        with strict_pillow(), Image.open(io.BytesIO(data), formats=["PNG"]) as picture:
            width, height = picture.size
            if width * height > limit or max(width, height) > LONGEST_SIDE:
                raise UserError(f"{where}: {width}x{height} pixels are more than the {limit} that can stand here.")
            if width * height * len(picture.getbands()) > _LARGEST_PNG:
                raise UserError(f"{where}: {width}x{height} pixels of {picture.mode} are more than can be read at once.")
            return _widened(np.array(picture))
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as fault:
        if isinstance(fault, UserError):
            raise
        raise UserError(f"{where}: the PNG is damaged ({fault}).") from None


def _widened(pixels: np.ndarray) -> np.ndarray:
    """16 bits as int32, whatever Pillow's version makes of them."""
    return pixels.astype(np.int32) if pixels.dtype.itemsize > 1 else pixels


def safe_name(name: Any, where: str) -> str:
    """A picture's name as a relative path with `/`; `a\\b.jpg` becomes `a/b.jpg`, `./a.jpg` `a.jpg`.

    Raises: UserError beginning with `where` (file and place) for what leads out of the pictures' folder (absolute, a drive,
        `..`), is empty, no text, too long, or has control characters.
    """
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{where}: {name!r} is no name of a picture.")
    path = name.replace("\\", "/")
    if path.startswith("/") or _DRIVE.match(path):
        fault = "is an absolute path"
    elif _CONTROL.search(path) or len(path) > _LONGEST_NAME:
        fault = "has control characters or is too long"
    else:
        parts = [part for part in path.split("/") if part not in ("", ".")]
        if ".." not in parts and parts:
            return "/".join(parts)
        fault = "leads out of the folder of pictures"
    raise UserError(f"{where}: the picture's name {name[:100]!r} {fault}. Names must be relative to the folder of pictures.")


def last_part(name: Any, where: str) -> str:
    """The last part of a path or URL that a tool took from the annotator's machine (labelme's imagePath), checked.

    Raises: UserError as of `safe_name`.
    """
    if not isinstance(name, str):
        raise UserError(f"{where}: {name!r} is no name of a picture.")
    return safe_name(name.replace("\\", "/").rstrip("/").rpartition("/")[2], where)
