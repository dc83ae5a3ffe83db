"""From the CSV's rows to one mask per row, and the compact arrays that keep the result on disk."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as mask_utils

from ppdet_ext.data.formats.fashion_csv import Row
from ppdet_ext.data.formats.label_descriptions import Labels, parse_class
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .fashion_masks import StoredMasks

# Part of the cache key: raise it when the arrays below, or what counts as a fault, change.
VERSION = 2
# JPEG's limit; it also keeps the number of pixels inside pycocotools' 32 bits.
_LONGEST_SIDE = 65535
_SIDE = re.compile(r"[0-9]{1,9}", re.ASCII)
# Masks measured at a time: pycocotools spends most of a call on its arguments, and its area() fails beyond 255 with numpy 2.
_BATCH = 255

_Meaning = tuple[int, tuple[int, ...]]


@dataclass(slots=True)
class Instances:
    """All masks of a CSV as flat arrays; instance i belongs to image `image[i]`. In the order of the rows.

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

    def attributed(self) -> np.ndarray:
        """(n,) bool: which instances have attributes."""
        return np.diff(self.kind_end, prepend=0)[self.kind] > 0


def read_instances(rows: Iterable[Row], labels: Labels, problems: Problems) -> Instances:
    """The masks of the rows. Faulty rows are put into `problems` and left out.

    A row with neither class nor pixels only says that there is such an image. A row that repeats an earlier one is a fault,
    but its image stays complete without it.
    """
    collector = _Collector(labels, problems)
    for row in rows:
        collector.add(row)
    return collector.instances()


class _Collector:
    """Grows the arrays of `Instances` row by row; a list of a third of a million masks would take twice the memory."""

    def __init__(self, labels: Labels, problems: Problems):
        self.problems = problems
        self.attribute_names = labels.attribute_names
        self.categories = f"known: {labels.category_ids[0]} to {labels.category_ids[-1]}"
        self.label_of = {number: label for label, number in enumerate(labels.category_ids)}
        self.place: dict[str, int] = {}
        self.named_in = array("q")
        self.size: dict[str, tuple[int, int, int]] = {}
        self.kinds: dict[tuple[int, ...], int] = {}
        self.seen: dict[bytes, int] = {}
        self.image, self.label, self.kind, self.end = array("q"), array("q"), array("q"), array("q")
        self.counts = bytearray()
        self.measures: list[tuple[np.ndarray, np.ndarray]] = []
        self.waiting: list[dict] = []

    def add(self, row: Row) -> None:
        if self.place.setdefault(row.name, len(self.place)) == len(self.named_in):
            self.named_in.append(row.line)
        nothing = not (row.class_id or row.pixels or row.attributes)
        if nothing and not (row.height or row.width):
            return
        size = self._size(row)
        meaning = None if nothing else self._meaning(row)
        if size is None or meaning is None:
            return
        mask = self._mask(row, size)
        if mask is not None:
            self._append(row, meaning, mask)

    def _fault(self, kind: str, row: Row, detail: str = "") -> None:
        self.problems.add(kind, f"{row.name}{detail} (row {row.line})", row.name)

    def _size(self, row: Row) -> tuple[int, int] | None:
        sides = [int(text) if _SIDE.fullmatch(text) else 0 for text in (row.height, row.width)]
        if not all(0 < side <= _LONGEST_SIDE for side in sides):
            self._fault(
                f"rows whose Height or Width is no whole number from 1 to {_LONGEST_SIDE}",
                row,
                f" {row.height[:20]!r}, {row.width[:20]!r}",
            )
            return None
        size = sides[0], sides[1]
        known = self.size.get(row.name)
        if known is None:
            self.size[row.name] = (*size, row.line)
        elif known[:2] != size:
            before = f"{known[0]}x{known[1]} in row {known[2]}"
            self._fault(
                "rows whose Height and Width contradict another row of the image", row, f" {size[0]}x{size[1]}, {before}"
            )
            return None
        return size

    def _meaning(self, row: Row) -> _Meaning | None:
        """(label, attributes) of a row."""
        try:
            category, attributes = parse_class(row.class_id, row.attributes)
        except ValueError:
            more = "" if row.attributes is None else f", AttributesIds {row.attributes[:60]!r}"
            self._fault("rows whose class cannot be read", row, f" ClassId {row.class_id[:60]!r}{more}")
            return None
        if len(set(attributes)) < len(attributes):
            # 13_20_20 would be another class than 13_20 where classes are compared with their attributes.
            self._fault("rows that name an attribute twice", row, f" attributes {', '.join(map(str, attributes))}")
            return None
        label = self.label_of.get(category)
        if label is None:
            self._fault(f"rows of an unknown class ({self.categories})", row, f" class {category}")
            return None
        unknown = [] if self.attribute_names is None else [a for a in attributes if a not in self.attribute_names]
        if unknown:
            self._fault("rows with unknown attributes", row, f" attributes {', '.join(map(str, unknown))}")
            return None
        return label, attributes

    def _mask(self, row: Row, size: tuple[int, int]) -> Rle | None:
        if not row.pixels:
            self._fault("rows with a class but no pixels", row)
            return None
        try:
            return Rle.from_kaggle(row.pixels, *size, image=row.name, row=row.line)
        except UserError as fault:
            self.problems.add("rows whose EncodedPixels are no mask of Height x Width", str(fault), row.name)
            return None

    def _append(self, row: Row, meaning: _Meaning, mask: Rle) -> None:
        label, attributes = meaning
        image, kind = self.place[row.name], self.kinds.setdefault(attributes, len(self.kinds))
        # 128 bits of each row, which chance does not make equal, where the masks themselves would take hundreds of megabytes.
        key = hashlib.blake2b(b"%d %d %d " % (image, label, kind) + mask.counts, digest_size=16).digest()
        first = self.seen.setdefault(key, row.line)
        if first != row.line:
            self.problems.add("rows that repeat another row", f"{row.name} (row {row.line} repeats row {first})")
            return
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

    def instances(self) -> Instances:
        self._measure()
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
