"""From the CSV's rows to the masks of its instances, and the compact arrays that keep the result on disk."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import overload

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .csv_rows import Row
from .label_descriptions import ClassFault, ClassReader, Labels
from .numbering import Evidence
from .rle_csv import RleCsv

# Part of the cache key: raise it when the arrays below, or what counts as a fault, change.
VERSION = 4
# JPEG's limit; it also keeps the number of pixels inside pycocotools' 32 bits.
_LONGEST_SIDE = 65535
_SIDE = re.compile(r"[0-9]{1,9}", re.ASCII)
# Masks measured at a time: pycocotools spends most of a call on its arguments, and its area() fails beyond 255 with numpy 2.
_BATCH = 255

_SEVERAL = (
    "A row holds all instances of its class in an image; for data with a row for each instance there is !RleCsvDataSet with "
    "rows: instance."
)

Size = tuple[int, int]
_Meaning = tuple[int, tuple[int, ...]]


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

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: getattr(self, name) for name in self.__slots__}

    def masks(self, chosen: np.ndarray, height: int, width: int) -> StoredMasks:
        """The masks of the instances at positions `chosen` (c,), all of one image of that size."""
        start = np.where(chosen > 0, self.end[chosen - 1], 0) if len(chosen) else chosen
        return StoredMasks(height, width, self.counts, start.tolist(), self.end[chosen].tolist())

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


def read_instances(
    rows: Iterable[Row], layout: RleCsv, labels: Labels, problems: Problems, size_of: Callable[[str], Size | None] | None = None
) -> Instances:
    """The instances of the rows: where a row holds all of a class or image, its 8-connected components, by first pixel.

    A row with neither class nor pixels only says that there is such an image. Faulty rows are put into `problems` and left
    out. A row that repeats an instance is a fault, but its image stays complete without it.

    size_of: (height, width) of an image where no column tells it; the pixels of one without a size are passed over.

    Raises: UserError where the masks contradict the numbering of the layout, see `Evidence`.
    """
    collector = _Collector(layout, labels, problems, size_of)
    for row in rows:
        collector.add(row)
    return collector.instances()


class _Collector:
    """Grows the arrays of `Instances` row by row; a list of a third of a million masks would take twice the memory."""

    def __init__(
        self, layout: RleCsv, labels: Labels, problems: Problems, size_of: Callable[[str], Size | None] | None
    ) -> None:
        self.layout, self.problems, self.size_of = layout, problems, size_of
        self.whole = layout.rows == "instance"
        self.no_mask = f"rows whose {layout.column_of(layout.mask_field)} is no mask of the image's height x width"
        self.evidence = Evidence(layout)
        self.classes = ClassReader(layout, labels)
        self.place: dict[str, int] = {}
        self.named_in = array("q")
        self.size: dict[str, tuple[int, int, int]] = {}
        self.kinds: dict[tuple[int, ...], int] = {}
        self.seen: dict[bytes | tuple[int, int], int] = {}
        self.image, self.label, self.kind, self.end = array("q"), array("q"), array("q"), array("q")
        self.counts = bytearray()
        self.measures: list[tuple[np.ndarray, np.ndarray]] = []
        self.waiting: list[dict] = []

    def add(self, row: Row) -> None:
        if self.place.setdefault(row.name, len(self.place)) == len(self.named_in):
            self.named_in.append(row.line)
        blank = self.layout.is_blank(row.rle)
        nothing = blank and not (row.class_text or row.attributes)
        if nothing and not (row.height or row.width):
            return
        size = self._size(row)
        meaning = None if nothing else self._meaning(row)
        if meaning is None or not (self.whole or self._is_first(row, meaning[0])):
            return
        if blank:
            if self.whole:
                self._fault("rows with a class but no pixels", row)
        elif size is not None:
            self._append(row, meaning, size)

    def _fault(self, kind: str, row: Row, detail: str = "") -> None:
        self.problems.add(kind, f"{row.name}{detail} (row {row.line})", row.name)

    def _size(self, row: Row) -> Size | None:
        if self.size_of is not None:
            size = self.size_of(row.name)
            if size is not None:
                self.size.setdefault(row.name, (*size, row.line))
            return size
        sides = [int(text) if _SIDE.fullmatch(text) else 0 for text in (row.height, row.width)]
        if not all(0 < side <= _LONGEST_SIDE for side in sides):
            names = " or ".join(self.layout.column_of(name) for name in ("height", "width"))
            self._fault(
                f"rows whose {names} is no whole number from 1 to {_LONGEST_SIDE}",
                row,
                f" {row.height[:20]!r}, {row.width[:20]!r}",
            )
            return None
        size = sides[0], sides[1]
        known = self.size.get(row.name)
        if known is None:
            self.size[row.name] = (*size, row.line)
        elif known[:2] != size:
            names = " and ".join(self.layout.column_of(name) for name in ("height", "width"))
            before = f"{known[0]}x{known[1]} in row {known[2]}"
            self._fault(f"rows whose {names} contradict another row of the image", row, f" {size[0]}x{size[1]}, {before}")
            return None
        return size

    def _meaning(self, row: Row) -> _Meaning | None:
        """(label, attributes) of a row, or None where that is a fault."""
        try:
            return self.classes.read(row.class_text, row.attributes)
        except ClassFault as fault:
            self._fault(fault.kind, row, f" {fault}")
            return None

    def _is_first(self, row: Row, label: int) -> bool:
        """Whether no row before has told of this class in this image."""
        if self.seen.setdefault((self.place[row.name], label), row.line) == row.line:
            return True
        if self.layout.class_field is None:
            self._fault("duplicate rows of an image", row)
        else:
            kind = "duplicate rows of an image and class"
            self._fault(kind, row, f" class {row.class_text}")
            self.problems.remedies[kind] = _SEVERAL
        return False

    def _append(self, row: Row, meaning: _Meaning, size: Size) -> None:
        try:
            mask = self.layout.mask_of(row.rle, *size, image=row.name, row=row.line)
        except UserError as fault:
            self.evidence.refuse(row.rle, size, str(fault))
            self.problems.add(self.no_mask, str(fault), row.name)
            return
        self.evidence.add(row.rle, size)
        label, attributes = meaning
        image, kind = self.place[row.name], self.kinds.setdefault(attributes, len(self.kinds))
        if self.whole:
            # 128 bits of a row, which chance does not make equal, where the masks would take hundreds of megabytes.
            key = hashlib.blake2b(b"%d %d %d " % (image, label, kind) + mask.counts, digest_size=16).digest()
            first = self.seen.setdefault(key, row.line)
            if first != row.line:
                self.problems.add("rows repeating another row", f"{row.name} (row {row.line} repeats row {first})")
                return
        for part in [mask] if self.whole else mask.components(connectivity=8):
            self.image.append(image)
            self.label.append(label)
            self.kind.append(kind)
            self.counts += part.counts
            self.end.append(len(self.counts))
            self.waiting.append(part.to_coco())
            if len(self.waiting) == _BATCH:
                self._measure()

    def _measure(self) -> None:
        if self.waiting:
            box = mask_utils.toBbox(self.waiting)
            box[:, 2:] += box[:, :2]
            self.measures.append((mask_utils.area(self.waiting).astype(np.int64), box.astype(np.float32)))
            self.waiting = []

    def instances(self) -> Instances:
        self._measure()
        self.evidence.demand_agreement(self.problems.source)
        if remedy := self.evidence.remedy():
            self.problems.remedies[self.no_mask] = remedy
        areas, boxes = zip(*self.measures) if self.measures else ((), ())
        return Instances(
            names=np.array(list(self.place), dtype=str),
            sizes=np.array([self.size.get(name, (0, 0, 0))[:2] for name in self.place], np.int64).reshape(-1, 2),
            row=np.array([self.size.get(name, (0, 0, line))[2] for name, line in zip(self.place, self.named_in)], np.int64),
            image=np.array(self.image, np.int64),
            label=np.array(self.label, np.int64),
            area=np.concatenate([np.zeros(0, np.int64), *areas]),
            box=np.concatenate([np.zeros((0, 4), np.float32), *boxes]),
            kind=np.array(self.kind, np.int64),
            attributes=np.array([number for kind in self.kinds for number in kind], np.int64),
            kind_end=np.cumsum([len(kind) for kind in self.kinds], dtype=np.int64),
            counts=np.frombuffer(self.counts, np.uint8),
            end=np.array(self.end, np.int64),
        )
