"""Run-length codecs on numpy arrays: COCO's compressed string, Kaggle's "start length …" text, and the counts between them.

A mask of h·w pixels is read column by column. `counts` alternate background and foreground lengths, beginning with
background (which may be 0); no other count is 0 and they sum to h·w, so that equal masks have equal counts.
"""

import numpy as np

from ppdet_ext.errors import UserError

_DIGITS_AND_SPACE = b"0123456789 \t\r\n"
_MAX_GROUPS = 13  # 13 groups of 5 bits hold every int64


def compress(counts: np.ndarray) -> bytes:
    """Counts (n,) int64 -> COCO's compressed string, as pycocotools' `rleToString` writes it.

    Counts from the fourth on are stored as the difference to the count two places before; every number becomes
    little-endian groups of 5 bits, two's complement, with bit 5 set on all groups but the last, plus 48.
    """
    values = counts.copy()
    values[3:] -= counts[1:-2]
    # A signed number x takes k groups when x and ~x fit in 5k-1 bits.
    magnitude = values ^ (values >> 63)
    groups = 1
    widest = int(magnitude.max())
    while widest >> (5 * groups - 1):
        groups += 1
    if groups == 1:
        return ((values & 31) + 48).astype(np.uint8).tobytes()
    shifts = np.arange(groups, dtype=np.int64) * 5
    chars = ((values[:, None] >> shifts) & 31) + 48
    # Group g+1 is needed when the value does not fit in the 5(g+1)-1 bits of the groups up to g.
    more = (magnitude[:, None] >> (shifts[:-1] + 4)) != 0
    chars[:, :-1] += more * 32
    keep = np.ones(chars.shape, bool)
    keep[:, 1:] = more
    return chars[keep].astype(np.uint8).tobytes()


def decompress(text: bytes) -> np.ndarray:
    """COCO's compressed string -> counts (n,) int64. ValueError where the string is not one."""
    chars = np.frombuffer(text, np.uint8).astype(np.int64) - 48
    if not chars.size:
        return np.zeros(0, np.int64)
    last = np.flatnonzero((chars & 32) == 0)
    if chars.min() < 0 or chars.max() > 63 or not last.size or last[-1] != chars.size - 1:
        raise ValueError("not a compressed COCO RLE string")
    first = np.empty_like(last)
    first[0] = 0
    first[1:] = last[:-1] + 1
    sizes = last - first + 1
    if sizes.max() > _MAX_GROUPS:
        raise ValueError("a count of a compressed COCO RLE string is longer than 64 bits")
    place = np.arange(chars.size) - np.repeat(first, sizes)
    values = np.add.reduceat((chars & 31) << (5 * place), first)
    values -= ((chars[last] >> 4) & 1) << np.minimum(5 * sizes, 63)
    values[1::2] = np.cumsum(values[1::2])
    values[2::2] = np.cumsum(values[2::2])
    return values


def normalise(counts: np.ndarray, size: int) -> np.ndarray:
    """Counts from outside -> canonical counts: zero counts inside are joined away. ValueError unless they fill `size`."""
    if counts.size and counts.min() < 0:
        raise ValueError(f"count {int(counts.min())} is negative")
    if int(counts.sum()) != size:
        raise ValueError(f"counts sum to {int(counts.sum())}, the mask has {size} pixels")
    if counts.size and counts[1:].all():
        return counts
    edges = np.cumsum(counts)
    return counts_from_edges(edges[: edges.size // 2 * 2], size)


def counts_from_edges(edges: np.ndarray, size: int) -> np.ndarray:
    """Positions (2n,) int64 where foreground begins, ends, begins, … (non-decreasing) -> canonical counts.

    Runs that touch or are empty show as equal neighbours, and each pair of equal neighbours cancels.
    """
    if edges.size and (edges[1:] == edges[:-1]).any():
        # Of an edge repeated k times only the parity of k matters.
        values, times = np.unique(edges, return_counts=True)
        edges = values[times & 1 == 1]
    bounds = np.empty(edges.size + 2, np.int64)
    bounds[0], bounds[1:-1], bounds[-1] = 0, edges, size
    counts = np.diff(bounds)
    return counts if counts[-1] or counts.size == 1 else counts[:-1]


def edges_from_counts(counts: np.ndarray) -> np.ndarray:
    """Canonical counts -> positions (2n,) int64 where foreground begins and ends in turn."""
    edges = np.cumsum(counts)
    return edges if counts.size % 2 == 0 else edges[:-1]


def parse_kaggle(text: str, size: int, where: str) -> np.ndarray:
    """Kaggle's "start length start length …" (1-indexed, column-major, ascending) -> edges (2n,) int64, 0-indexed.

    Raises UserError beginning with `where` for anything but positive, sorted, non-overlapping runs inside `size`.
    """
    raw = text.encode("utf-8", "replace")
    if raw.translate(None, _DIGITS_AND_SPACE):
        bad = next(token for token in text.split() if not (token.isascii() and token.isdigit()))
        sign = "negative" if bad[:1] == "-" and bad[1:].isdigit() else "not an integer"
        raise UserError(f"{where}: {bad[:20]!r} in EncodedPixels is {sign}; write 'start length start length …'")
    edges = np.fromstring(text, np.int64, sep=" ") if raw.strip() else np.zeros(0, np.int64)
    if edges.size % 2:
        raise UserError(f"{where}: EncodedPixels has an odd number of values ({edges.size}); "
                        "every run needs a start and a length")
    starts, lengths = edges[0::2], edges[1::2]
    # Checked on their own before the sum, which could overflow.
    _refuse(where, starts < 1, starts, lengths, "starts before pixel 1")
    _refuse(where, lengths < 1, starts, lengths, "has no pixels")
    _refuse(where, (starts > size) | (lengths > size - starts + 1), starts, lengths,
            f"reaches beyond the {size} pixels of the image")
    starts -= 1
    lengths += starts
    if (starts[1:] < lengths[:-1]).any():
        before = np.concatenate([[0], starts[:-1]])
        _refuse(where, starts < before, starts + 1, lengths - starts, "is not in ascending order")
        overlap = starts < np.concatenate([[0], lengths[:-1]])
        _refuse(where, overlap, starts + 1, lengths - starts, "overlaps the run before it")
    return edges


def _refuse(where: str, bad: np.ndarray, starts: np.ndarray, lengths: np.ndarray, fault: str) -> None:
    if bad.any():
        i = int(bad.argmax())
        raise UserError(f"{where}: run {i + 1} of EncodedPixels ('{starts[i]} {lengths[i]}') {fault}")


def format_kaggle(edges: np.ndarray) -> str:
    """Edges (2n,) int64 -> Kaggle's text; '' for no runs."""
    pairs = edges.copy()
    pairs[1::2] -= pairs[0::2]
    pairs[0::2] += 1
    return " ".join(map(str, pairs.tolist()))
