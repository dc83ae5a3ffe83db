"""Run-length codecs on numpy arrays: COCO's compressed string, Kaggle's "start length …", and their counts.

A mask of h·w pixels is read column by column. `counts` alternate background and foreground lengths, beginning
with background (which may be 0); no other count is 0 and they sum to h·w: equal masks have equal counts.
"""

import numpy as np

from ppdet_ext.errors import UserError

_DIGITS_AND_SPACE = b"0123456789 \t\r\n"
_MAX_GROUPS = 12  # 12 groups of 5 bits: more than any mask needs, and no overflow of int64
_BITS = 15  # three groups, coded at once by table
_MASK = (1 << _BITS) - 1
# Mostly the first and the last count alone are longer; for so many, Python's integers are faster than arrays.
_FEW = 6
_CHARACTERS = [bytes([48 + i]) for i in range(64)]


def _string_table() -> np.ndarray:
    """(2·2^15,) uint32: the characters, padded with NUL, of three groups of 5 bits.

    The first half codes a signed 15-bit number in as few groups as it needs; the second half codes the lowest
    15 bits of a longer number, all three groups marked as continued.
    """
    low = np.arange(1 << _BITS)
    signed = np.where(low >> (_BITS - 1), low - (1 << _BITS), low)
    magnitude = signed ^ (signed >> 63)
    table = np.zeros((2, low.size, 4), np.uint8)
    for group in range(3):
        chars = ((low >> (5 * group)) & 31) + 48
        more = (magnitude >> (5 * group + 4)) != 0
        needed = group == 0 or (magnitude >> (5 * group - 1)) != 0
        table[0, :, group] = (chars + 32 * more) * needed
        table[1, :, group] = chars + 32
    return table.reshape(-1, 4).view(np.uint32).ravel()


_TABLE = _string_table()


def compress(counts: np.ndarray) -> bytes:
    """Counts (n,) int64 -> COCO's compressed string, as pycocotools' `rleToString` writes it.

    Counts from the fourth on are stored as the difference to the count two places before; a number becomes
    little-endian groups of 5 bits, two's complement, with bit 5 set on all groups but the last, plus 48.
    """
    rest = counts.copy()
    rest[3:] -= counts[1:-2]
    low = rest & _MASK
    rows = np.flatnonzero(_is_long(rest))
    if rows.size <= _FEW:
        return _joined(_TABLE[low], rows.tolist(), rest[rows].tolist())
    low[rows] += 1 << _BITS
    rest = rest[rows]
    places = 2
    while _is_long(rest >> (_BITS * (places - 1))).any():
        places += 1
    words = np.zeros((counts.size, places), np.uint32)
    words[:, 0] = _TABLE[low]
    for place in range(1, places):
        rest >>= _BITS
        more = _is_long(rest)
        words[rows, place] = _TABLE[(rest & _MASK) + more * (1 << _BITS)]
        rows, rest = rows[more], rest[more]
    return words.tobytes().translate(None, b"\0")


def _joined(words: np.ndarray, rows: list[int], numbers: list[int]) -> bytes:
    """The characters of the words (n,) uint32, with those of longer numbers in the place of the words at their rows."""
    parts, done = [], 0
    for row, number in zip(rows, numbers):
        parts.append(words[done:row].tobytes())
        done, more = row + 1, True
        while more:
            group, number = number & 31, number >> 5
            more = number != (-1 if group & 16 else 0)
            parts.append(_CHARACTERS[group + 32 * more])
    parts.append(words[done:].tobytes())
    return b"".join(parts).translate(None, b"\0")


def _is_long(values: np.ndarray) -> np.ndarray:
    """Whether a number needs more than `_BITS` bits, sign included; as unsigned, one comparison tells."""
    return (values + (1 << (_BITS - 1))).view(np.uint64) > _MASK


def decompress(text: bytes) -> np.ndarray:
    """COCO's compressed string -> counts (n,) int64. ValueError where the string is not one."""
    chars = np.frombuffer(text, np.uint8) - np.uint8(48)  # characters below 48 wrap to above 63
    last = np.flatnonzero(chars < 32)
    if not last.size or last[-1] != chars.size - 1 or chars.max() > 63:
        raise ValueError("counts are not a compressed RLE string")
    extra = last.copy()  # groups before the last one of each number
    extra[1:] -= last[:-1] + 1
    if extra.max() >= _MAX_GROUPS:
        raise ValueError("counts are not a compressed RLE string: a number is too long")
    chars &= 31
    values = (chars[last] ^ np.uint8(16)).astype(np.int64)
    values -= 16
    rows = np.flatnonzero(extra)
    place, left = last[rows], extra[rows]
    while rows.size:
        place, left = place - 1, left - 1
        values[rows] = (values[rows] << 5) | chars[place]
        more = np.flatnonzero(left)
        rows, place, left = rows[more], place[more], left[more]
    np.cumsum(values[1::2], out=values[1::2])
    np.cumsum(values[2::2], out=values[2::2])
    return values


def normalise(counts: np.ndarray, size: int) -> np.ndarray:
    """Counts from outside -> canonical ones, zero counts joined away. ValueError unless they fill `size`."""
    if counts.size and counts.min() < 0:
        raise ValueError(f"count {int(counts.min())} is negative")
    # The sum is only meaningful where no partial sum can overflow.
    if (counts > size).any() or int(counts.sum()) != size:
        raise ValueError(f"counts sum to {sum(counts.tolist())}, the mask has {size} pixels")
    if counts.size and counts[1:].all():
        return counts
    runs = np.cumsum(counts)[: counts.size // 2 * 2].reshape(-1, 2)
    return counts_from_edges(runs[runs[:, 0] < runs[:, 1]].ravel(), size)


def counts_from_edges(edges: np.ndarray, size: int) -> np.ndarray:
    """Positions (2n,) int64 where non-empty runs begin and end -> canonical counts, touching ones joined."""
    counts = _differences(edges, size)
    if counts[1:].all():
        return counts
    if counts[-1] == 0 and counts.size > 1:
        counts = counts[:-1]
    touching = edges[1:-1:2] == edges[2::2]
    if not touching.any():
        return counts
    keep = np.ones(edges.size, bool)
    keep[1:-1:2] = keep[2::2] = ~touching
    return counts_from_edges(edges[keep], size)


def complement(counts: np.ndarray) -> np.ndarray:
    """Canonical counts -> those of the other pixels."""
    if counts[0]:
        return np.concatenate([np.zeros(1, np.int64), counts])
    return counts[1:] if counts.size > 1 else counts


def edges_from_counts(counts: np.ndarray) -> np.ndarray:
    """Canonical counts -> positions (2n,) int64 where foreground begins and ends in turn."""
    edges = np.cumsum(counts)
    return edges if counts.size % 2 == 0 else edges[:-1]


def parse_kaggle(
    text: str, size: int, where: str, base: int = 1, relative: bool = False, column: str = "EncodedPixels"
) -> np.ndarray:
    """Kaggle's "start length start length …", column-major and ascending -> canonical counts.

    base: number of the first pixel. relative: starts count from the end of the run before. column: named in messages.

    Raises: UserError beginning with `where` unless the runs are positive, sorted, disjoint and inside `size`.
    """
    raw = text.encode("utf-8", "replace")
    if raw.translate(None, _DIGITS_AND_SPACE):
        raise UserError(f"{where}: {_foreign_token(text, column)}")
    if not raw or raw.isspace():
        return np.array([size], np.int64)
    edges = np.fromstring(text, np.int64, sep=" ")
    if edges.size % 2:
        raise UserError(f"{where}: {column} has an odd number of values ({edges.size}); every run needs a start and a length")
    if relative:
        edges = np.cumsum(edges) - base
    else:
        edges[0::2] -= base
        edges[1::2] += edges[0::2]
    counts = _differences(edges, size)
    # Sums that overflowed leave a count outside 0…size, so these two tests cover them too.
    low = counts.min()
    if low < 0 or counts.max() > size or (low == 0 and not counts[1::2].all()):
        raise UserError(f"{where}: {_run_fault(text, size, base, relative, column)}")
    return counts if low else counts_from_edges(edges, size)


def _differences(edges: np.ndarray, size: int) -> np.ndarray:
    counts = np.empty(edges.size + 1, np.int64)
    counts[:-1] = edges
    counts[-1] = size
    counts[1:] -= edges
    return counts


def _foreign_token(text: str, column: str) -> str:
    bad = next((token for token in text.split() if not (token.isascii() and token.isdigit())), text)
    fault = "negative" if bad[:1] == "-" and bad[1:].isdigit() else "not an integer"
    return f"{bad[:20]!r} in {column} is {fault}; it reads 'start length start length …'"


def _run_fault(text: str, size: int, base: int, relative: bool, column: str) -> str:
    """What is wrong with the first bad run, in exact integers."""
    values = list(map(int, text.split()))
    previous_start = previous_end = 0
    for i, (written, length) in enumerate(zip(values[0::2], values[1::2])):
        start = written + 1 + (previous_end if relative and i else -base)
        if start < 1:
            fault = f"starts before pixel {base} (starts count from {base})"
        elif length < 1:
            fault = "has no pixels"
        elif start + length - 1 > size:
            fault = f"reaches beyond the {size} pixels of the image"
        elif start < previous_start:
            fault = "is not in ascending order"
        elif start <= previous_end:
            fault = "overlaps the run before it"
        else:
            previous_start, previous_end = start, start + length - 1
            continue
        return f"run {i + 1} of {column} ('{written} {length}') {fault}"
    raise AssertionError("every run is valid")


def format_kaggle(edges: np.ndarray, base: int = 1, relative: bool = False) -> str:
    """Edges (2n,) int64 -> Kaggle's text; '' for no runs. base, relative: as of `parse_kaggle`."""
    pairs = edges.copy()
    if relative:
        pairs[1:] -= edges[:-1]
        pairs[:1] += base
    else:
        pairs[1::2] -= pairs[0::2]
        pairs[0::2] += base
    return " ".join(map(str, pairs.tolist()))
