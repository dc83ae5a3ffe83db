"""Objects that tools write in parts: shapes of one group become one object."""

from __future__ import annotations

import contextlib
from collections.abc import Hashable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .collector import Collector, Unusable
from .label_set import Box, LabelledImage

# Classes that tools list and that are none, in small letters.
NO_CLASS = ("_background_", "background", "__background__", "__ignore__")


class NoObject(Unusable):
    """Why something is left out that is no object of its picture, as a tag: the picture stays a picture without it."""


@dataclass(slots=True)
class Part:
    """A shape of an object.

    where: its place in the files, for messages.
    group: what the parts of one object have in common; None for an object of one part.
    polygons, crowd, score, box: as of `LabelledObject`.
    """

    class_name: str
    mask: Rle
    where: str
    group: Hashable = None
    polygons: list[list[float]] | None = None
    crowd: bool = False
    score: float | None = None
    box: Box | None = None


def add_parts(collector: Collector, image: LabelledImage, parts: Iterable[Part]) -> None:
    """Give the objects of a picture to the collector, in the order of their first parts.

    Parts of one class and group are one object. A group of several classes is several: tools also group a car and its plate.
    """
    groups: dict[Hashable, list[Part]] = {}
    for number, part in enumerate(parts):
        groups.setdefault(("alone", number) if part.group is None else (part.class_name, part.group), []).append(part)
    for own in groups.values():
        part = own[0] if len(own) == 1 else _joined(own)
        with left_out(collector, part.where, image):
            collector.add(
                image, part.class_name, part.mask, box=part.box, crowd=part.crowd, score=part.score, polygons=part.polygons
            )


def _joined(parts: list[Part]) -> Part:
    polygons = [polygon for part in parts for polygon in part.polygons or []]
    return Part(
        parts[0].class_name,
        Rle.merge([part.mask for part in parts]),
        parts[0].where,
        polygons=polygons if all(part.polygons for part in parts) else None,
        crowd=any(part.crowd for part in parts),
        score=max((part.score for part in parts if part.score is not None), default=None),
    )


@contextlib.contextmanager
def left_out(collector: Collector, where: str, image: LabelledImage | None = None) -> Iterator[None]:
    """Read one object; where it cannot be used, it is counted, and `where` names its place. image: as of `Collector.skip`."""
    try:
        yield
    except Unusable as reason:
        collector.skip(reason, where, None if isinstance(reason, NoObject) else image)
    except UserError as fault:
        collector.skip("malformed objects", f"{where} ({str(fault).removeprefix(where).lstrip(': ')})", image)


def class_of(name: Any) -> str:
    """The name of an object's class. Raises: Unusable where there is none."""
    if isinstance(name, int) and not isinstance(name, bool):
        return str(name)
    if not isinstance(name, str) or not name.strip():
        raise Unusable("objects without a label")
    return name


def group_of(value: Any) -> int | str | None:
    """What the parts of one object have in common, as a tool writes it; None for 0, "" and what is neither number nor text."""
    return value if isinstance(value, int | str) and not isinstance(value, bool) and value else None


def list_of(value: Any) -> list:
    """A list of a file's; for anything else none."""
    return value if isinstance(value, list) else []


def kind_of(value: Any) -> str:
    """The name of a shape's type as text, for messages cut off."""
    return value if isinstance(value, str) and len(value) <= 40 else str(value)[:40]


def flat_points(points: Any) -> list[float]:
    """[[x, y], …], [{"x": x, "y": y}, …] or flat numbers as flat [x, y, x, y, …]. Raises: Unusable for anything else."""
    flat: list[float] = []
    try:
        for point in points:
            pair = (point["x"], point["y"]) if isinstance(point, dict) else point if isinstance(point, list | tuple) else None
            if pair is None:
                flat.append(float(point))
            else:
                x, y = pair
                flat += [float(x), float(y)]
    except (TypeError, ValueError, KeyError, OverflowError):
        raise Unusable("shapes whose points are no numbers") from None
    return flat


def whole(value: Any) -> int:
    """A coordinate as a whole number of pixels, rounded down. Raises: Unusable for what is no finite number."""
    try:
        return int(float(value) // 1)
    except (TypeError, ValueError, OverflowError):
        raise Unusable("masks whose place is no number") from None
