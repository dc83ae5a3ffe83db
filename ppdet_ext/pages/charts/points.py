"""Points: a scatter, and values with the range in which they may be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ppdet_ext.pages.formats import clipped, columns_of, short, signed

from . import svg
from .bars import ROW
from .frame import LETTER, Axis, Frame
from .scale import Scale, nice_ticks, range_of


@dataclass(frozen=True)
class Point:
    """A dot and what hovering over it says."""

    x: float
    y: float
    title: str = ""
    colour: str = "var(--accent)"
    link: str | None = None


def scatter(
    label: str, points: Sequence[Point], x: Axis, y: Axis, *, diagonal: bool = False, width: float = 540, height: float = 320
) -> Markup:
    """Dots, those given last on top. diagonal: the line on which both are equal."""
    frame = Frame.of(width, height, x, y)
    parts = [frame.drawn(x, y)]
    if diagonal:
        low, high = max(x.range[0], y.range[0]), min(x.range[1], y.range[1])
        parts.append(svg.element("path", d=svg.polyline([(frame.x(v), frame.y(v)) for v in (low, high)]), class_="upright"))
    for point in points:
        hover = svg.title(point.title) if point.title else ""
        place = {"cx": frame.x(point.x), "cy": frame.y(point.y), "r": 3}
        dot = svg.element("circle", hover, class_="dot", style=f"fill:{point.colour}", **place)
        parts.append(svg.element("a", dot, href=point.link) if point.link else dot)
    return svg.canvas(width, height, label, *parts)


@dataclass(frozen=True)
class Interval:
    """A value with its range, such as a difference and where a bootstrap puts it."""

    name: str
    value: float
    low: float
    high: float
    title: str = ""


def intervals(label: str, rows: Sequence[Interval], *, text: Callable[[float], str] = signed, width: float = 540) -> Markup:
    """Values with their ranges around a common zero, one below the other; ranges without zero are coloured."""
    names = [clipped(row.name) for row in rows]
    left = max([columns_of(name) for name in names] or [0]) * LETTER + 14
    right = max([columns_of(text(row.value)) for row in rows] or [0]) * LETTER + 10
    low, high = range_of([0.0, *(bound for row in rows for bound in (row.low, row.high))])
    scale = Scale(low, high, left, max(width - right, left + 60))
    bottom = ROW * len(rows)
    parts = []
    for value in nice_ticks(low, high, 4):
        place = scale(value)
        parts.append(svg.upright(place, 0, bottom, "grid" if value else "base"))
        parts.append(svg.text(place, bottom + 16, short(value), "middle", "tick"))
    for i, (row, name) in enumerate(zip(rows, names)):
        y = ROW * i + ROW / 2
        kind = "good" if row.low > 0 else "bad" if row.high < 0 else "muted"
        hover = svg.title(row.title or f"{row.name}: {text(row.value)} ({text(row.low)} to {text(row.high)})")
        span = svg.level(scale(row.low), scale(row.high), y, "span")
        dot = svg.element("circle", cx=scale(row.value), cy=float(y), r=4)
        parts.append(svg.text(left - 8, y + 4, name, "end", "name"))
        parts.append(svg.element("g", hover, span, dot, class_=f"interval {kind}"))
        parts.append(svg.text(width - right + 6, y + 4, text(row.value), "start", "value"))
    return svg.canvas(width, bottom + 22, label, *parts)
