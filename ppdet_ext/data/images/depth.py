"""How a picture is read: turned or not, and how more than eight bits become eight.

Inspection cameras, X-ray and depth sensors give 10 to 16 bits a pixel. A network of ours takes 8, so a picture's values from
`low` to `high` are spread over 0 to 255: round(255 * (v - low) / (high - low)), cut off at both ends. The range must be one
for the whole data set, in training and afterwards: a range of each picture's own makes a scratch brighter the cleaner the
sheet around it is. So nothing is guessed, and a deep picture without a range is an error that tells what is in it.
"""

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError, nearest

from .raster import bytes_of, is_deep, stored_pixels

# Names of the ranges that begin at 0: what a sensor of so many bits can give, in the low bits of a pixel.
TOP_OF = {"8bit": 0xFF, "10bit": 0x3FF, "12bit": 0xFFF, "14bit": 0x3FFF, "full": 0xFFFF}
BY_IMAGE = "image"
PERCENTILES = (0.1, 99.9)
# Values taken of each picture, evenly spread, where there are too many to count each.
_SAMPLE = 1 << 16

Range = str | tuple[float, float] | None


@dataclass(frozen=True, slots=True)
class Reading:
    """How pictures are read, alike wherever one is.

    exif: turned as the EXIF orientation says, which is what viewers show; False gives the stored pixels.
    range: how pixels of more than 8 bits become 8: a name of `TOP_OF`, (low, high), "image" for each picture's own
        percentiles, or None, where such pictures are errors. Pictures of 8 bits or less are never changed.
    """

    exif: bool = True
    range: Range = None

    @classmethod
    def of(cls, exif: bool = True, range: str | Sequence[float] | None = None) -> "Reading":
        """From what a configuration says. Raises: UserError for a range that is none."""
        return cls(bool(exif), _checked_range(range))

    @classmethod
    def of_transforms(cls, sample_transforms: Iterable[Any] | None) -> "Reading":
        """From a reader's `sample_transforms`: what its ReadImage says."""
        for entry in sample_transforms or ():
            if isinstance(entry, Mapping) and "ReadImage" in entry:
                told = entry["ReadImage"] or {}
                return cls.of(told.get("exif", True), told.get("range"))
        return AS_SHOWN


AS_SHOWN = Reading()


def _checked_range(value: Any) -> Range:
    if value is None or value in (*TOP_OF, BY_IMAGE):
        return value
    if isinstance(value, str):
        names = ", ".join((*TOP_OF, BY_IMAGE))
        raise UserError(
            f"ReadImage.range: {value!r} is not one of {names}, nor [low, high].{nearest(value, (*TOP_OF, BY_IMAGE))}"
        )
    if not (isinstance(value, Sequence) and len(value) == 2 and all(_is_number(one) for one in value) and value[0] < value[1]):
        raise UserError(f"ReadImage.range: {value!r} is no [low, high] of two numbers, the lower one first.")
    return float(value[0]), float(value[1])


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def to_8_bits(pixels: np.ndarray, range: Range, what: str) -> np.ndarray:
    """Pixels of more than 8 bits as (h, w, 3) uint8 RGB.

    Args:
        pixels: (h, w) or (h, w, 3), whole numbers or float.
        range: as of `Reading`.
        what: the file, for messages.

    Raises: UserError without a range, for one that the values contradict, and for values that are no numbers.
    """
    if pixels.dtype.kind == "f" and not np.isfinite(pixels).all():
        bad = int((~np.isfinite(pixels)).sum())
        raise UserError(
            f"{what}: {bad} of its values are not finite (NaN or infinite). Give them a number, then read it again."
        )
    if range is None:
        raise UserError(f"{what}: {_told(pixels)}, and nothing says how they become 8 bits. {_remedy(pixels)}")
    if range == BY_IMAGE:
        low, high = (float(value) for value in np.percentile(pixels, PERCENTILES)) if pixels.size else (0.0, 1.0)
    elif isinstance(range, str):
        low, high = 0.0, float(TOP_OF[range])
        # Numbers are a choice, a name is a claim about the sensor: 12 bits in the upper ones of 16 are none of "12bit".
        if pixels.size and (pixels.dtype.kind == "f" or pixels.min() < low or pixels.max() > high):
            raise UserError(
                f"{what}: {_told(pixels)}, which is not what range: {range} means (0 to {high:.0f}). {_remedy(pixels)}"
            )
    else:
        low, high = range
    grey = _spread(pixels, low, high)
    return grey if grey.ndim == 3 else np.repeat(grey[..., None], 3, axis=2)


def _spread(pixels: np.ndarray, low: float, high: float) -> np.ndarray:
    """Values from `low` to `high` as 0 to 255, uint8. Of one value only (no contrast) all are 0."""
    if pixels.dtype == np.uint16:
        return _table(low, high)[pixels]
    return _scaled(pixels.astype(np.float64), low, high)


@functools.lru_cache(8)
def _table(low: float, high: float) -> np.ndarray:
    return _scaled(np.arange(0x10000, dtype=np.float64), low, high)


def _scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if high <= low:
        return np.zeros(values.shape, np.uint8)
    # Half up, as every camera's own software does, and not to the even neighbour.
    return np.floor(np.clip((values - low) / (high - low), 0, 1) * 255 + 0.5).astype(np.uint8)


def _told(pixels: np.ndarray) -> str:
    """What is in a picture, in words."""
    kind = "float" if pixels.dtype.kind == "f" else f"{pixels.dtype.itemsize * 8}-bit"
    if not pixels.size:
        return f"{kind} pixels"
    low, high = np.percentile(pixels, PERCENTILES)
    share = PERCENTILES[1] - PERCENTILES[0]
    return f"{kind} pixels from {pixels.min():g} to {pixels.max():g} ({share:g} % of them from {low:g} to {high:g})"


def _remedy(pixels: np.ndarray) -> str:
    top = float(pixels.max()) if pixels.size else 0.0
    fitting = next((name for name, most in TOP_OF.items() if name != "8bit" and most >= top), None)
    if fitting is None or pixels.dtype.kind == "f" or pixels.min() < 0:
        named = "ReadImage: {range: [low, high]}"
    else:
        named = f"ReadImage: {{range: {fitting}}} (0 to {TOP_OF[fitting]}), or {{range: [low, high]}}"
    return (
        f"Write in every reader of the configuration {named} with numbers that fit all pictures, and export anew what "
        "was exported; see dataset/README.md."
    )


def value_range(paths: Iterable[str], percentiles: tuple[float, float] = PERCENTILES) -> tuple[float, float] | None:
    """(low, high) for `ReadImage.range`: percentiles of the values in all pictures deeper than 8 bits; None without any.

    Of whole numbers up to 65535 every value is counted, of others up to 65,536 of each picture, evenly spread.

    Raises: UserError naming a file that cannot be read.
    """
    counts, others = np.zeros(0x10000, np.int64), []
    for path in paths:
        if not is_deep(path):
            continue
        pixels = stored_pixels(bytes_of(path), path).ravel()
        if pixels.dtype == np.uint16:
            counts += np.bincount(pixels, minlength=0x10000)
        else:
            some = pixels[:: -(-len(pixels) // _SAMPLE)].astype(np.float64)
            others.append(some[np.isfinite(some)])
    found = np.flatnonzero(counts)
    values = np.concatenate([found.astype(np.float64), *others])
    weights = np.concatenate([counts[found], *(np.ones(len(some), np.int64) for some in others)])
    if not len(values):
        return None
    order = np.argsort(values, kind="stable")
    below = np.cumsum(weights[order]) / weights.sum()
    low, high = (values[order][min(np.searchsorted(below, share / 100), len(values) - 1)] for share in percentiles)
    # A range of one value is none: pictures without any contrast.
    return float(low), float(high if high > low else low + 1)
