"""Whether the runs of a file agree with how it is said to number its pixels; if not, which numbering they speak for.

A wrong order, base or kind of offset mostly gives masks that decode: stripes, shifted by a pixel. So it is not believed but
looked for in the runs themselves. The order: most edges of a shape go on at nearly the same place of the next line. The base:
shapes cut by the border of the picture begin or end with a line; numbered wrongly, a single pixel of theirs hangs over into the
line before (base 1 in place of 0) or after (0 in place of 1). Of Severstal's 1,416 rows 1,414 tell the order, all of them the
right one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Rle

from .rle_csv import ORDERS, RleCsv

# All masks at the file's beginning are looked at, then one of so many: the order is the file's, not the mask's.
_FIRST, _ONE_OF = 200, 64
# Of masks that cannot be read so many are tried in other numberings; beyond this share it is the file's fault, not a row's.
_TRIED, _SHARE = 20, 0.1
# Edges that must go on in the other order to contradict the stated one; how far, in pixels, an edge moves from line to line.
_EDGES, _MOVE = 6, 2
# Runs that hang over a border by a pixel needed to contradict the base. Of the right one there are next to none, so two will do
# where none keeps the border on that side and so many are a pixel short of it. The latter alone say nothing: iMaterialist's
# masks never touch the bottom.
_HANGING, _SURELY_HANGING, _SHORT = 8, 2, 8


class NumberingError(UserError):
    """Masks are numbered otherwise than the file is said to be. keys: text of the keys that say so: "order: rows"."""

    def __init__(self, text: str, keys: str) -> None:
        super().__init__(text)
        self.keys = keys


class Evidence:
    """Collects what masks say of their numbering.

    layout: how they are said to be numbered; sizes are (height, width) in pixels, texts cells that are not blank.
    """

    def __init__(self, layout: RleCsv) -> None:
        self.layout = layout
        self.masks = 0
        self.votes, self.edges = dict.fromkeys(ORDERS, 0), dict.fromkeys(ORDERS, 0)
        # Runs that begin with a line, that end with one; that begin one pixel before it, that end one after; that begin with
        # its second pixel, that end before its last.
        self.border = np.zeros(6, np.int64)
        self.size: tuple[int, int] = (0, 0)
        self.refused: list[tuple[str, tuple[int, int]]] = []
        self.faulty, self.fault = 0, ""

    def add(self, text: str, size: tuple[int, int]) -> None:
        """Note a mask that could be read."""
        if self.layout.mask_field != "rle":
            return
        self.masks += 1
        if not is_asked(self.masks):
            return
        start, end = _runs(text, self.layout)
        lines = dict(zip(ORDERS, size))
        self._vote(start, end, lines, size)
        line = lines[self.layout.order]
        long = end - start > 1
        first, last = start[long] % line, end[long] % line
        before, after = first == line - 1, last == 1
        # Runs of two pixels at the border, half beyond it, hang over either way.
        hanging = before & ~after, after & ~before
        self.border += [one.sum() for one in (first == 0, last == 0, *hanging, first == 1, last == line - 1)]

    def add_mask(self, mask: Rle) -> None:
        """Note a mask that was read down the columns, for its order alone."""
        self.masks += 1
        start, length = mask.runs()
        self._vote(start, start + length, dict(zip(ORDERS, mask.size)), mask.size)

    def _vote(self, start: np.ndarray, end: np.ndarray, lines: dict[str, int], size: tuple[int, int]) -> None:
        # Where lines are nearly of one length, what goes on in one order nearly does in the other; in short ones all does.
        if min(size) < 4 * _MOVE or abs(size[0] - size[1]) < 4 * _MOVE:
            return
        for measure in (lambda line: _going_on(start, line) + _going_on(end, line), _beside_next(start, end)):
            found = {order: measure(line) for order, line in lines.items()}
            for order, other in (ORDERS, ORDERS[::-1]):
                if found[order] > 2 * found[other]:
                    self.votes[order] += 1
                    self.edges[order] += found[order]
                    self.size = size
                    return

    def refuse(self, text: str, size: tuple[int, int], fault: str) -> None:
        """Note a mask that could not be read, and why."""
        if self.layout.mask_field != "rle":
            return
        self.faulty += 1
        self.fault = self.fault or fault
        if len(self.refused) < _TRIED:
            self.refused.append((text, size))

    def remedy(self) -> str | None:
        """What to do about the masks that could not be read, where another numbering, or none, reads them all."""
        if not self.refused:
            return None
        fitting = self.fitting
        if fitting:
            return f"They can be read with {fitting}; if the whole file is numbered so, say so."
        if all(_reaches_beyond(text, size, self.layout) for text, size in self.refused):
            return "No numbering of the pixels has room for them in images of that size. Check height and width."
        return None

    def demand_agreement(self, source: str) -> None:
        """Raises: NumberingError naming the numbering that the masks speak for, where it is not the stated one."""
        faults = (self._order_fault(), f"order: {self.told_order}"), (self._base_fault(), f"base: {self.told_base}")
        for fault, keys in (*faults, (self._reading_fault(), self.fitting)):
            if fault:
                raise NumberingError(f"{source}: {fault}", keys)

    @property
    def told_order(self) -> str | None:
        """The order that the masks speak for; None where they do not decide, as those of square pictures."""
        for order, other in (ORDERS, ORDERS[::-1]):
            if self.votes[order] > 2 * self.votes[other] and self.edges[order] >= _EDGES:
                return order
        return None

    @property
    def told_base(self) -> int | None:
        """The number of the first pixel that masks cut by the border speak for; None where they do not decide."""
        begin, end, before, after, second, short = self.border.tolist()
        stated = self.layout.base
        hanging, opposite, beside = (before, after, short) if stated else (after, before, second)
        # What would hang over in the other base speaks for the stated one.
        telling = end if stated else begin
        many = hanging >= max(_HANGING, 2 * telling, 10 * opposite)
        if many or (hanging >= _SURELY_HANGING and beside >= _SHORT and not telling and not opposite):
            return 1 - stated
        return stated if telling >= max(_HANGING, 2 * (before + after)) else None

    def summary(self) -> str:
        """What the masks decided and what they left open, in a line; "" where there was nothing to ask."""
        if not self.masks:
            return ""
        told = {"order": self.told_order, "base": self.told_base}
        said = ", ".join(f"{key}: {value}" for key, value in told.items() if value is not None)
        left = ", ".join(f"{key}: {getattr(self.layout, key)}" for key, value in told.items() if value is None)
        parts = [f"the masks say {said}"] if said else []
        return "; ".join(parts + ([f"undecided by the masks, and taken as said: {left}"] if left else []))

    def _order_fault(self) -> str:
        order, other = self.layout.order, self.told_order
        if other in (None, order):
            return ""
        major = {"rows": "row-major", "columns": "column-major"}
        told, (height, width) = counted(sum(self.votes.values()), "masks"), self.size
        return (
            f"your masks look {major[other]}: order: {other}. Read as {major[order]}, {self.votes[other]} of {told} that can "
            f"tell fall into stripes (for example one of {height}x{width}, height x width). {_remedy(f'order: {other}')} "
            "If height and width are swapped, swap them instead."
        )

    def _base_fault(self) -> str:
        stated, base = self.layout.base, self.told_base
        if base in (None, stated):
            return ""
        hanging = int(self.border[2 if base == 0 else 3])
        return (
            f"your masks look numbered from {base}: base: {base}. Read with base: {stated}, {counted(hanging, 'runs')} "
            f"at the border of a picture hang over by a single pixel. {_remedy(f'base: {base}')}"
        )

    def _reading_fault(self) -> str:
        fitting, masks = self.fitting, self.masks + self.faulty
        if not fitting or self.faulty <= max(2, _SHARE * masks):
            return ""
        return (
            f"{self.faulty} of {counted(masks, 'masks')} cannot be read as they are said to be numbered ({self.fault}), but "
            f"can with {fitting}. {_remedy(fitting)}"
        )

    @property
    def fitting(self) -> str:
        """The keys of the one numbering that reads all refused masks; "" where there is none, or nothing to be read."""
        found = [
            self._changed(base, relative)
            # Starts count from 1 but where one is 0; offsets from the end of the run before are known from SIIM alone, from 0.
            for relative, base in ((False, 1), (False, 0), (True, 0), (True, 1))
            if all(_reads(*one, base, relative) for one in self.refused)
        ]
        return found[0] if found and self.refused else ""

    def _changed(self, base: int, relative: bool) -> str:
        stated = self.layout
        parts = [f"base: {base}"] if base != stated.base else []
        return ", ".join(parts + ([f"relative: {str(relative).lower()}"] if relative != stated.relative else []))


def is_asked(number: int) -> bool:
    """Whether the mask of that number, counted from 1, is one of those that are looked at."""
    return number <= _FIRST or number % _ONE_OF == 0


def _remedy(keys: str) -> str:
    return f"Set {keys} (of !RleCsvDataSet), or mend the file."


def _runs(text: str, layout: RleCsv) -> tuple[np.ndarray, np.ndarray]:
    """Where the runs of a valid text start and end, both (n,) int64 from 0, in the text's own order of pixels."""
    pairs = np.fromstring(text, np.int64, sep=" ")
    if layout.relative:
        edges = np.cumsum(pairs) - layout.base
        return edges[0::2], edges[1::2]
    start = pairs[0::2] - layout.base
    return start, start + pairs[1::2]


def _going_on(edges: np.ndarray, line: int) -> int:
    """How many edges have another one on the next line, hardly beside."""
    target = edges + line
    after = np.searchsorted(edges, target)
    near = [np.abs(edges[np.clip(place, 0, len(edges) - 1)] - target) for place in (after - 1, after)]
    return int((np.minimum(*near) <= _MOVE).sum())


def _beside_next(start: np.ndarray, end: np.ndarray) -> Callable[[int], int]:
    """How many runs have the following one beside them on the next line, diagonally too: slanted shapes."""
    return lambda line: int(((start[1:] <= end[:-1] + line) & (end[1:] >= start[:-1] + line)).sum())


def _reads(text: str, size: tuple[int, int], base: int, relative: bool) -> bool:
    try:
        Rle.from_kaggle(text, *size, base=base, relative=relative)
    except UserError:
        return False
    return True


def _reaches_beyond(text: str, size: tuple[int, int], layout: RleCsv) -> bool:
    """Whether an even number of whole numbers leaves the image of (height, width) pixels."""
    parts = text.split()
    if len(parts) % 2 or not all(part.isascii() and part.isdigit() for part in parts):
        return False
    numbers = list(map(int, parts))
    ends = [a + b for a, b in zip(numbers[0::2], numbers[1::2])]
    last = sum(numbers) if layout.relative else max(ends, default=0)
    return last - layout.base > size[0] * size[1]
