"""Masks as other texts than run lengths: Open Images' base64 strings, in triples with label and score, and polygons in JSON."""

from __future__ import annotations

import base64
import binascii
import json
import zlib

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

# COCO's string takes up to so many characters for a count, and a mask has at most one count more than pixels.
_CHARACTERS = 7


def encode_oid(mask: Rle) -> str:
    """The text of a mask in Open Images' challenge of 2019, also in HPA 2021 and HuBMAP 2023: base64(zlib(COCO's counts)).

    Source: `encode_binary_mask` of the challenge ("OID challenge encoding ascii text"), which compresses as well as it can.
    """
    return base64.b64encode(zlib.compress(mask.counts, zlib.Z_BEST_COMPRESSION)).decode()


def decode_oid(text: str, height: int, width: int) -> Rle:
    """The mask of a text as of `encode_oid`. Raises: UserError where it is none of this size."""
    try:
        data = base64.b64decode(text, validate=True)
        # A short text may claim to hold gigabytes.
        limit = _CHARACTERS * (height * width + 2)
        packed = zlib.decompressobj()
        counts = packed.decompress(data, limit)
        if not packed.eof:
            raise UserError(f"more than a mask of {height}x{width} can hold, or cut off")
    except (binascii.Error, zlib.error, ValueError) as fault:
        raise UserError(f"no base64(zlib(COCO counts)): {fault}") from None
    return Rle.from_coco({"size": [height, width], "counts": counts})


def triples_of(text: str) -> list[tuple[str, str, str]]:
    """(label, score, mask) of a prediction string. Raises: UserError where a triple is not whole."""
    parts = text.split()
    if len(parts) % 3:
        raise UserError(f"{len(parts)} parts are no triples 'label score mask'")
    return list(zip(parts[0::3], parts[1::3], parts[2::3]))


def triple(label: str, score: float, mask: Rle) -> str:
    """A prediction, one of the string's."""
    return f"{label} {score:.6f} {encode_oid(mask)}"


def decode_polygons(text: str, height: int, width: int) -> Rle:
    """The mask of JSON [[[x, y], …], …] in pixels: an outline, then its holes, as in GeoJSON; rasterised as in COCO.

    Raises: UserError where it is no such text.
    """
    try:
        outer, *holes = [[float(value) for point in ring for value in _pair(point)] for ring in json.loads(text)]
    except (TypeError, ValueError) as fault:
        raise UserError(f"no polygon [[[x, y], …]]: {fault}") from None
    mask = Rle.from_polygons([outer], height, width)
    return mask.subtract(Rle.from_polygons(holes, height, width)) if holes else mask


def _pair(point: list) -> list:
    if len(point) != 2:
        raise ValueError(f"{str(point)[:40]} is no point")
    return point
