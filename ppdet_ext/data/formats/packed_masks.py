"""The masks of many instances as compact arrays, which memory, a disk and several processes can share."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.structures import Rle

# Part of the cache key: raise it when the arrays below, or what counts as a fault, change.
VERSION = 7
# Masks measured at a time: pycocotools spends most of a call on its arguments, and its area() fails beyond 255 with numpy 2.
_BATCH = 255

Size = tuple[int, int]


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

    @overload
    def __getitem__(self, index: int) -> Rle: ...

    @overload
    def __getitem__(self, index: slice) -> list[Rle]: ...

    def __getitem__(self, index: int | slice) -> Rle | list[Rle]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        return Rle(*self._size, self._counts[self._start[index] : self._end[index]].tobytes())

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StoredMasks | list):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other))

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: Iterable[Rle]) -> list[Rle]:
        return [*self, *other]

    def __radd__(self, other: Iterable[Rle]) -> list[Rle]:
        return [*other, *self]

    def __reduce__(self) -> tuple:
        return list, (list(self),)

    def __repr__(self) -> str:
        return repr(list(self))


@dataclass(slots=True)
class Instances:
    """All instances of a CSV as flat arrays; instance i belongs to image `image[i]`. In the order of the rows.

    names: (m,) text, images in order of appearance. sizes: (m, 2) int64 height, width; zeros where no row tells.
    row: (m,) int64, the CSV's row, counted from 1, that gives the size, or the first that names the image where none does.
    image, label: (n,) int64. area: (n,) int64 pixels. box: (n, 4) float32 x1 y1 x2 y2.
    kind: (n,) int64, which of the k different sets of attributes; set j is attributes[kind_end[j - 1] : kind_end[j]].
    counts: the masks' compressed strings end to end, (b,) uint8; string i is counts[end[i - 1] : end[i]].
    unsized: (u,) int64 images of which there are masks that nobody could read, since nothing tells the image's size.
    """

    names: np.ndarray
    sizes: np.ndarray
    row: np.ndarray
    image: np.ndarray
    label: np.ndarray
    area: np.ndarray
    box: np.ndarray
    kind: np.ndarray
    attributes: np.ndarray
    kind_end: np.ndarray
    counts: np.ndarray
    end: np.ndarray
    unsized: np.ndarray

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.__slots__}

    def masks(self, chosen: np.ndarray, height: int, width: int) -> StoredMasks:
        """The masks of the instances at positions `chosen` (c,), all of one image of that size."""
        start = np.where(chosen > 0, self.end[chosen - 1], 0) if len(chosen) else chosen
        return StoredMasks(height, width, self.counts, start.tolist(), self.end[chosen].tolist())

    def masked(self) -> list[str]:
        """Names of the images that the file has masks of."""
        names = self.names.tolist()
        return [names[i] for i in np.union1d(self.image, self.unsized).tolist()]

    def attribute_sets(self) -> list[tuple[int, ...]]:
        """The k different sets of attributes."""
        values, ends = self.attributes.tolist(), self.kind_end.tolist()
        return [tuple(values[a:b]) for a, b in zip([0, *ends], ends)]

    def classes(self) -> dict[str, set[int]]:
        """The labels in each image, by name."""
        names = self.names.tolist()
        found: dict[str, set[int]] = {}
        for image, label in zip(self.image.tolist(), self.label.tolist()):
            found.setdefault(names[image], set()).add(label)
        return found

    def attributed(self) -> np.ndarray:
        """(n,) bool: which instances have attributes."""
        return np.diff(self.kind_end, prepend=0)[self.kind] > 0


class Packer:
    """Grows the arrays of `Instances` mask by mask; a list of a third of a million masks would take twice the memory."""

    def __init__(self) -> None:
        self.image, self.label, self.kind, self.end = array("q"), array("q"), array("q"), array("q")
        self.counts = bytearray()
        self.measures: list[tuple[np.ndarray, np.ndarray]] = []
        self.waiting: list[dict] = []

    def add(self, image: int, label: int, kind: int, mask: Rle) -> None:
        """Put an instance behind those before: numbers of its image, class and set of attributes."""
        self.image.append(image)
        self.label.append(label)
        self.kind.append(kind)
        self.counts += mask.counts
        self.end.append(len(self.counts))
        self.waiting.append(mask.to_coco())
        if len(self.waiting) == _BATCH:
            self._measure()

    def _measure(self) -> None:
        if self.waiting:
            box = mask_utils.toBbox(self.waiting)
            box[:, 2:] += box[:, :2]
            self.measures.append((mask_utils.area(self.waiting).astype(np.int64), box.astype(np.float32)))
            self.waiting = []

    def instances(
        self,
        sizes: Mapping[str, Size],
        rows: Sequence[int],
        kinds: Iterable[tuple[int, ...]],
        unsized: Iterable[int] = (),
    ) -> Instances:
        """All that was added.

        sizes: of the images by name, in their order; (0, 0) where no row tells. rows: as `Instances.row`. kinds: the different
        sets of attributes, in order. unsized: as `Instances.unsized`.
        """
        self._measure()
        areas, boxes = zip(*self.measures) if self.measures else ((), ())
        sets = list(kinds)
        return Instances(
            names=np.array(list(sizes), dtype=str),
            sizes=np.array(list(sizes.values()), np.int64).reshape(-1, 2),
            row=np.array(rows, np.int64),
            image=np.array(self.image, np.int64),
            label=np.array(self.label, np.int64),
            area=np.concatenate([np.zeros(0, np.int64), *areas]),
            box=np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
            kind=np.array(self.kind, np.int64),
            attributes=np.array([number for kind in sets for number in kind], np.int64),
            kind_end=np.cumsum([len(kind) for kind in sets], dtype=np.int64),
            counts=np.frombuffer(self.counts, np.uint8),
            end=np.array(self.end, np.int64),
            unsized=np.array(sorted(unsized), np.int64),
        )
