"""Label Studio's brush: a bit-packed run-length code of a picture's RGBA values, row by row.

    32 bits  how many values
     5 bits  bits of a value, less 1
    4 x 4    bits of a length, less 1: four sizes, of which each record chooses one
    records  1 bit: one value for all? · 2 bits: which size · that many bits: length less 1 · one value, or a value for each

Source: thi.ng's rle-pack (https://github.com/thi-ng/umbrella/tree/develop/packages/rle-pack), which the tool uses.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle, rle_codec

_HEADER = 32 + 5 + 4 * 4
_CHANNELS = 4
# As the tool writes them: of a value, and of a length.
_WORD, _SIZES = 8, (3, 4, 8, 16)
_LONGEST = 1 << _SIZES[-1]


def decode_brush(code: Sequence[int], height: int, width: int) -> Rle:
    """The mask of a brush: pixels whose alpha is not 0, as in the tool's own converter.

    Args:
        code: bytes as integers, `value.rle` of a result.

    Raises: UserError for a code that is damaged, or of another size.
    """
    lengths, values = decode_runs(code, _CHANNELS * height * width)
    ends = np.cumsum(lengths)
    # Alpha is the last of each four values: so many of them lie before a position.
    pixels = np.diff(ends // _CHANNELS, prepend=0)
    counts = _alternating(pixels, values != 0)
    # Row by row is column by column of the picture on its side.
    return Rle.from_coco({"size": [width, height], "counts": counts}).transpose()


def decode_runs(code: Sequence[int], size: int) -> tuple[np.ndarray, np.ndarray]:
    """A code -> lengths and values of its runs, both (n,) int64; neighbours may have one value.

    size: how many values it must have.

    Raises: UserError for anything else, and for a code that is no list of bytes or cut off.
    """
    try:
        packed = np.frombuffer(bytes(code), np.uint8)
    except (TypeError, ValueError):
        raise UserError("rle is no list of bytes (0 to 255)") from None
    bits = np.unpackbits(packed)
    text = (bits + ord("0")).tobytes()
    if len(text) < _HEADER:
        raise UserError(f"rle is cut off: {len(packed)} bytes")
    number, word = int(text[:32], 2), int(text[32:37], 2) + 1
    if number != size:
        raise UserError(f"rle has {number} values, its picture 4 x height x width = {size}")
    sizes = [int(text[at : at + 4], 2) + 1 for at in range(37, _HEADER, 4)]
    try:
        lengths, values = _records(text, word, sizes, number)
    except ValueError:  # also of int() without digits, beyond the end
        raise UserError(f"rle is cut off: {len(packed)} bytes end before its {number} values") from None
    return np.array(lengths, np.int64), np.array(values, np.int64)


def _records(text: bytes, word: int, sizes: Sequence[int], number: int) -> tuple[list[int], list[int]]:
    lengths: list[int] = []
    values: list[int] = []
    at, done = _HEADER, 0
    while done < number:
        alike, bits = text[at : at + 1] == b"1", sizes[int(text[at + 1 : at + 3], 2)]
        at += 3
        length = min(int(text[at : at + bits], 2) + 1, number - done)
        at += bits
        for run in [length] if alike else [1] * length:
            values.append(int(text[at : at + word], 2))
            lengths.append(run)
            at += word
        done += length
    if at > len(text):
        raise ValueError
    return lengths, values


def _alternating(lengths: np.ndarray, on: np.ndarray) -> list[int]:
    """Lengths of runs and which of them are foreground -> counts that begin with background, neighbours joined."""
    lengths, on = lengths[lengths > 0], on[lengths > 0]
    begins = np.flatnonzero(np.diff(on, prepend=False))
    return np.diff(np.concatenate([[0], np.append(np.cumsum(lengths), 0)[begins - 1], [lengths.sum()]])).tolist()


def encode_brush(mask: Rle) -> list[int]:
    """The bytes of a mask: 255 in all four channels where it is set, 0 elsewhere; every record repeats one value."""
    counts = _CHANNELS * rle_codec.decompress(mask.transpose().counts)
    # A length that no record holds becomes several; that of no background before the first pixel, none.
    times = -(-counts // _LONGEST)
    values = np.repeat(np.arange(counts.size) % 2 * 255, times)
    lengths = np.full(values.size, _LONGEST)
    lengths[np.cumsum(times)[times > 0] - 1] = (counts - (times - 1) * _LONGEST)[times > 0]
    which = np.searchsorted(1 << np.array(_SIZES), lengths)
    sizes = np.array(_SIZES)[which]
    records = ((4 | which) << sizes | (lengths - 1)) << _WORD | values
    places = (3 + sizes + _WORD)[:, None] - 1 - np.arange(3 + _SIZES[-1] + _WORD)
    bits = (records[:, None] >> np.maximum(places, 0) & 1)[places >= 0]
    head = f"{int(counts.sum()):032b}{_WORD - 1:05b}" + "".join(f"{size - 1:04b}" for size in _SIZES)
    return np.packbits(np.concatenate([np.array(list(head), np.uint8), bits.astype(np.uint8)])).tolist()
