"""From the CSV's rows to the masks of its instances."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterable

from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .csv_rows import Row
from .label_descriptions import ClassFault, ClassReader, Labels
from .numbering import Evidence
from .packed_masks import Instances, Packer, Size
from .rle_csv import RleCsv

# JPEG's limit; it also keeps the number of pixels inside pycocotools' 32 bits.
_LONGEST_SIDE = 65535
_SIDE = re.compile(r"[0-9]{1,9}", re.ASCII)

_SEVERAL = {
    what: f"A row holds all instances of {of}; for data with a row for each instance there is !RleCsvDataSet with "
    "rows: instance, and repeated: union unites them."
    for what, of in (("image", "an image"), ("image and class", "its class in an image"))
}

logger = logging.getLogger("ppdet_ext")

_Meaning = tuple[int, tuple[int, ...]]


def read_instances(
    rows: Iterable[Row], layout: RleCsv, labels: Labels, problems: Problems, size_of: Callable[[str], Size | None] | None = None
) -> Instances:
    """The instances of the rows: where a row holds all of a class or image, its 8-connected components, by first pixel.

    Several rows of such a class or image are united and noted, or faults where the layout says so. A row with neither class
    nor pixels only says that there is such an image. Faulty rows are put into `problems` and left out. A row that repeats an
    instance is a fault, but its image stays complete without it.

    size_of: (height, width) of an image where no column tells it; one without a size is among those `unsized`.

    Raises: UserError where the masks contradict the numbering of the layout, see `Evidence`.
    """
    collector = _Collector(layout, labels, problems, size_of)
    for row in rows:
        collector.add(row)
    return collector.instances()


class _Collector:
    """Checks rows one by one; instances go on to a `Packer`, what is one mask of several rows when all are there."""

    def __init__(
        self, layout: RleCsv, labels: Labels, problems: Problems, size_of: Callable[[str], Size | None] | None
    ) -> None:
        self.layout, self.problems, self.size_of = layout, problems, size_of
        self.whole = layout.rows == "instance"
        self.no_mask = f"rows whose {layout.column_of(layout.mask_field)} is no mask of the image's height x width"
        self.evidence = Evidence(layout)
        self.classes = ClassReader(layout, labels)
        self.place: dict[str, int] = {}
        self.named_in: list[int] = []
        self.size: dict[str, tuple[int, int, int]] = {}
        self.kinds: dict[tuple[int, ...], int] = {}
        self.seen: dict[bytes | tuple[int, int], int] = {}
        self.unsized: set[int] = set()
        self.packer = Packer()
        # Of (image, label): number of the attributes' set, and the mask so far.
        self.held: dict[tuple[int, int], tuple[int, Rle]] = {}

    def add(self, row: Row) -> None:
        if self.place.setdefault(row.name, len(self.place)) == len(self.named_in):
            self.named_in.append(row.line)
        blank = self.layout.is_blank(row.rle)
        nothing = blank and not (row.class_text or row.attributes)
        if nothing and not (row.height or row.width):
            return
        size = self._size(row)
        if size is None and not blank:
            self.unsized.add(self.place[row.name])
        meaning = None if nothing else self._meaning(row)
        if meaning is None:
            return
        if self.whole and blank and self.layout.has_attributes:
            self._fault("rows with a class but no pixels", row)
        elif self.whole and blank:
            # Some files have a row for each class, be it there or not; with attributes a row is an object that lost its mask.
            kind = "rows with a class but no mask, taken for none of that class"
            self.problems.note(kind, f"{row.name} class {row.class_text[:60]} (row {row.line})")
        elif self.whole and size is not None:
            self._append(row, meaning, size)
        elif not self.whole:
            self._hold(row, meaning, size, blank)

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

    def _hold(self, row: Row, meaning: _Meaning, size: Size | None, blank: bool) -> None:
        """Keep a row's mask, with those of the rows of the same class in this image."""
        label, attributes = meaning
        key = self.place[row.name], label
        first = self.seen.setdefault(key, row.line)
        mask = None if blank or size is None else self._mask(row, size)
        if mask is None and not blank:
            return
        kind, before = self.held.get(key, (-1, None))
        if first != row.line and not self._may_repeat(row, first, mask == before):
            return
        if mask is not None:
            number = self.kinds.setdefault(attributes, len(self.kinds)) if before is None else kind
            self.held[key] = number, mask if before is None else before.union(mask)

    def _may_repeat(self, row: Row, first: int, same: bool) -> bool:
        """Note a row of which there has been one already, or make it a fault, as the layout says."""
        what, detail = "image", ""
        if self.layout.class_field is not None:
            what, detail = "image and class", f" class {row.class_text[:60]}"
        if self.layout.repeated == "union":
            kind = f"rows repeating another row of the same {what}" if same else f"rows united with others of the same {what}"
            self.problems.note(kind, f"{row.name}{detail} (row {row.line})")
            return True
        kind = f"duplicate rows of an {what}" if same else f"further rows of an {what}, with another mask"
        self.problems.add(kind, f"{row.name}{detail} (row {row.line}, the first in row {first})", row.name)
        if not same:
            self.problems.remedies[kind] = _SEVERAL[what]
        return False

    def _mask(self, row: Row, size: Size) -> Rle | None:
        """The row's mask, or None where that is a fault."""
        try:
            mask = self.layout.mask_of(row.rle, *size, image=row.name, row=row.line)
        except UserError as fault:
            self.evidence.refuse(row.rle, size, str(fault))
            self.problems.add(self.no_mask, str(fault), row.name)
            return None
        self.evidence.add(row.rle, size)
        return mask

    def _append(self, row: Row, meaning: _Meaning, size: Size) -> None:
        mask = self._mask(row, size)
        if mask is None:
            return
        label, attributes = meaning
        image, kind = self.place[row.name], self.kinds.setdefault(attributes, len(self.kinds))
        # 128 bits of a row, which chance does not make equal, where the masks would take hundreds of megabytes.
        key = hashlib.blake2b(b"%d %d %d " % (image, label, kind) + mask.counts, digest_size=16).digest()
        first = self.seen.setdefault(key, row.line)
        if first == row.line:
            self.packer.add(image, label, kind, mask)
        else:
            self.problems.add("rows repeating another row", f"{row.name} (row {row.line} repeats row {first})")

    def instances(self) -> Instances:
        """All that the rows told. Raises: UserError where their masks contradict their numbering."""
        self.evidence.demand_agreement(self.problems.source)
        if summary := self.evidence.summary():
            logger.info("%s: %s", self.problems.source, summary)
        if remedy := self.evidence.remedy():
            self.problems.remedies[self.no_mask] = remedy
        if self.classes.unknown in self.problems.found and (remedy := self.classes.remedy()):
            self.problems.remedies[self.classes.unknown] = remedy
        for (image, label), (kind, mask) in self.held.items():
            for part in mask.components(connectivity=8):
                self.packer.add(image, label, kind, part)
        sizes = {name: self.size.get(name, (0, 0, 0))[:2] for name in self.place}
        rows = [self.size.get(name, (0, 0, line))[2] for name, line in zip(self.place, self.named_in)]
        return self.packer.instances(sizes, rows, self.kinds, self.unsized)
