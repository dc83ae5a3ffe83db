"""`ProbabilityMap`: how likely each pixel of an image is of one class, kept compactly."""

import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from .rle import Rle

LEVELS = 255  # of a stored probability: round(p · 255), off by at most 1/510
LEAST = 1 / LEVELS  # a class whose highest probability is below this is not there
_FLOATS = np.arange(LEVELS + 1, dtype=np.float32) / np.float32(LEVELS)


@dataclass(frozen=True, eq=False, slots=True)
class ProbabilityMap:
    """Probabilities of one class in an image of `height` x `width` original pixels; zero outside of `box`.

        one = ProbabilityMap.of(probabilities)    # (height, width) float32, exact
        small = one.quantised()                   # some kilobytes, for storing and for other processes
        mask = small.mask(0.5)

    Attributes:
        height, width: of the image.
        box: (top, left, bottom, right) of the part that is kept, in pixels, the ends exclusive.
        stored: of that part (h, w) float32 as it is, or bytes: zlib's of (h, w) uint8, levels less those of the row above.
    """

    height: int
    width: int
    box: tuple[int, int, int, int]
    stored: np.ndarray | bytes

    @classmethod
    def of(cls, probabilities: np.ndarray) -> "ProbabilityMap":
        """From (height, width) float32 of [0, 1], exact; the array is kept, not copied. ValueError for another shape."""
        if probabilities.ndim != 2:
            raise ValueError(f"a probability map has shape (height, width), not {probabilities.shape}")
        probabilities = np.asarray(probabilities, np.float32)
        top, left, bottom, right = box = _box_of(probabilities > 0)
        height, width = probabilities.shape
        return cls(height, width, box, probabilities[top:bottom, left:right])

    @classmethod
    def empty(cls, height: int, width: int) -> "ProbabilityMap":
        """Zero everywhere."""
        return cls(height, width, (0, 0, 0, 0), np.zeros((0, 0), np.float32))

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image."""
        return self.height, self.width

    @property
    def is_quantised(self) -> bool:
        return isinstance(self.stored, bytes)

    @property
    def max(self) -> float:
        """The highest probability; 0 of an empty map."""
        values = self.values()
        return float(values.max()) if values.size else 0.0

    def values(self) -> np.ndarray:
        """Probabilities (h, w) float32 of the part within `box`; not to be written to."""
        return _FLOATS[self._levels()] if isinstance(self.stored, bytes) else self.stored

    def dense(self) -> np.ndarray:
        """Probabilities (height, width) float32 of the whole image."""
        whole = np.zeros(self.size, np.float32)
        top, left, bottom, right = self.box
        whole[top:bottom, left:right] = self.values()
        return whole

    def quantised(self) -> "ProbabilityMap":
        """With levels of 1/255, compressed; the part that rounds to zero is cut off. One that is so already is itself."""
        if isinstance(self.stored, bytes):
            return self
        levels = np.rint(self.stored * np.float32(LEVELS)).astype(np.uint8)
        top, left, bottom, right = _box_of(levels > 0)
        kept = levels[top:bottom, left:right]
        y, x = self.box[:2] if kept.size else (0, 0)
        return ProbabilityMap(self.height, self.width, (y + top, x + left, y + bottom, x + right), _packed(kept))

    def mask(self, threshold: float) -> Rle:
        """The pixels whose probability is at least `threshold`, compared in float32. ValueError unless it is in (0, 1]."""
        if not 0 < threshold <= 1:
            raise ValueError(f"threshold {threshold} is not in (0, 1]")
        if isinstance(self.stored, bytes):
            # Levels ascend with what they stand for, so that the first one that counts decides without any float.
            inside = self._levels() >= np.flatnonzero(np.float32(threshold) <= _FLOATS)[0]
        else:
            inside = self.stored >= np.float32(threshold)
        return Rle.from_window(inside, *self.box[:2], *self.size)

    def extent(self, least: float = LEAST) -> tuple[float, float, float, float] | None:
        """Box x1, y1, x2, y2 of the pixels with at least that probability; None where there are none."""
        top, left, bottom, right = _box_of(self.values() >= np.float32(least))
        if top == bottom:
            return None
        y, x = self.box[:2]
        return float(x + left), float(y + top), float(x + right), float(y + bottom)

    def _levels(self) -> np.ndarray:
        top, left, bottom, right = self.box
        assert isinstance(self.stored, bytes)
        changes = np.frombuffer(zlib.decompress(self.stored), np.uint8).reshape(bottom - top, right - left)
        return np.cumsum(changes, axis=0, dtype=np.uint8)


def _packed(levels: np.ndarray) -> bytes:
    """Levels (h, w) uint8 compressed: maps change slowly, so that what a row changes is short to say."""
    changes = levels.copy()
    changes[1:] -= levels[:-1]  # modulo 256, as the sum is
    # Runs alone: half the bytes that zlib's search for repetitions leaves of the levels themselves, in the same time.
    packer = zlib.compressobj(1, strategy=zlib.Z_RLE)
    return packer.compress(changes.tobytes()) + packer.flush()


def resize_maps(maps: np.ndarray, height: int, width: int) -> np.ndarray:
    """Maps (C, h, w) float32 at (C, height, width), bilinear between pixel centres; the same array where it has that size."""
    if maps.shape[1:] == (height, width):
        return maps
    return np.stack([cv2.resize(one, (width, height), interpolation=cv2.INTER_LINEAR) for one in maps])


def _box_of(inside: np.ndarray) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of what is set, zeros where nothing is."""
    rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    if not len(rows):
        return 0, 0, 0, 0
    return int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1
