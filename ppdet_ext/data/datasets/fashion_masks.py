"""`StoredMasks`: the masks of one image, made from the data set's common store when they are asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ppdet_ext.structures import Rle


class StoredMasks(Sequence):
    """Behaves as the list of `Rle` that it stands for, but cannot be changed; copies and pickles are such lists.

    A third of a million masks as objects take a second and a half to make, and data workers would copy all of them:
    counting references writes to each. The store is one array, that all processes share.

    Args:
        height, width: of the masks.
        counts: (b,) uint8, compressed strings end to end.
        start, end: n positions; mask i is counts[start[i] : end[i]].
    """

    __slots__ = ("_counts", "_end", "_size", "_start")

    def __init__(self, height: int, width: int, counts: np.ndarray, start: list[int], end: list[int]):
        self._size, self._counts, self._start, self._end = (height, width), counts, start, end

    def __len__(self) -> int:
        return len(self._start)

    def __getitem__(self, index: int | slice) -> Rle | list[Rle]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Rle(*self._size, self._counts[self._start[index] : self._end[index]].tobytes())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredMasks | list):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other))

    __hash__ = None

    def __add__(self, other: Iterable[Rle]) -> list[Rle]:
        return [*self, *other]

    def __radd__(self, other: Iterable[Rle]) -> list[Rle]:
        return [*other, *self]

    def __reduce__(self) -> tuple:
        return list, (list(self),)

    def __repr__(self) -> str:
        return repr(list(self))
