"""Lines over a common axis, named at their ends; a pointer reads their values."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ppdet_ext.pages.formats import clipped, columns_of

from . import svg
from .frame import LETTER, LINE, Axis, Frame
from .scale import spread

NAME_COLUMNS = 20


@dataclass(frozen=True)
class Series:
    """A line. x, y: (n,), y None or NaN where there is a gap. colour: of CSS. faint: context, neither named nor read.

    dashed: a second kind of line in one colour; dots: a mark at each point, for few of them.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float | None]
    colour: str = "var(--accent)"
    dashed: bool = False
    faint: bool = False
    dots: bool = False


@dataclass(frozen=True)
class Mark:
    """A point to notice, with its words."""

    x: float
    y: float
    text: str
    colour: str = "var(--ink)"


def lines(
    label: str,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    marks: Sequence[Mark] = (),
    verticals: Sequence[tuple[float, str]] = (),
    width: float = 540,
    height: float = 300,
) -> Markup:
    """A chart of lines.

    Args:
        label: alternative text.
        verticals: (x, words) of upright lines, such as a threshold.
    """
    named = [one for one in series if not one.faint and _points(one)]
    names = [clipped(one.name, NAME_COLUMNS) for one in named] if len(named) > 1 else []
    frame = Frame.of(width, height, x, y, right=max([columns_of(name) for name in names] or [0]) * LETTER + 16)
    parts: list[Markup] = [frame.drawn(x, y)]
    parts += [frame.upright(place, words) for place, words in verticals]
    # Context lies below what is named.
    parts += [_line(frame, one) for one in sorted(series, key=lambda one: not one.faint) if _points(one)]
    parts += _names(frame, named, names)
    parts += [_mark(frame, mark, x, y) for mark in marks]
    return svg.canvas(width, height, label, *parts, data_lines=_hover(frame, named, x, y))


def _points(series: Series) -> list[tuple[float, float] | None]:
    def finite(x: float, y: float | None) -> bool:
        return y is not None and math.isfinite(x) and math.isfinite(y)

    points = [(float(x), float(y or 0.0)) if finite(x, y) else None for x, y in zip(series.x, series.y)]
    return points if any(points) else []


def _line(frame: Frame, series: Series) -> Markup:
    places = [None if point is None else (frame.x(point[0]), frame.y(point[1])) for point in _points(series)]
    classes = " ".join(["line", *(["faint"] if series.faint else []), *(["dashed"] if series.dashed else [])])
    style = None if series.faint else f"stroke:{series.colour}"
    line = svg.element("path", svg.title(series.name), d=svg.polyline(places), class_=classes, style=style)
    # A single point would not be seen.
    if series.dots or sum(place is not None for place in places) == 1:
        dots = (svg.element("circle", cx=place[0], cy=place[1], r=3, fill=series.colour) for place in places if place)
        return Markup("").join([line, *dots])
    return line


def _names(frame: Frame, named: Sequence[Series], names: Sequence[str]) -> list[Markup]:
    """The names to the right of the last points, moved apart; a thin line leads to those that moved far."""
    if not names:
        return []
    ends = [next(point for point in reversed(_points(one)) if point) for one in named]
    heights = spread([frame.y(end[1]) for end in ends], LINE - 2, frame.y.end, frame.y.start)
    parts = []
    for one, name, end, height in zip(named, names, ends, heights):
        start, edge = frame.x(end[0]), frame.x.end + 10
        if abs(height - frame.y(end[1])) > 4 or start < frame.x.end - 4:
            way = f"M{svg.pixel(start + 2)} {svg.pixel(frame.y(end[1]))}L{svg.pixel(edge - 2)} {svg.pixel(height)}"
            parts.append(svg.element("path", d=way, class_="leader"))
        parts.append(svg.element("circle", cx=float(edge), cy=height, r=3, fill=one.colour))
        parts.append(svg.text(edge + 7, height + 4, name, "start", "name"))
    return parts


def _mark(frame: Frame, mark: Mark, x: Axis, y: Axis) -> Markup:
    at, height = frame.x(mark.x), frame.y(mark.y)
    right = at < (frame.x.start + frame.x.end) / 2
    hover = svg.title(f"{mark.text}: {x.text(mark.x)}, {y.text(mark.y)}")
    dot = svg.element("circle", hover, cx=at, cy=height, r=4.5, class_="mark", style=f"fill:{mark.colour}")
    above = height - 9 if height - 9 > frame.y.end + 8 else height + 18
    return dot + svg.text(at + (7 if right else -7), above, mark.text, "start" if right else "end", "note strong")


def _hover(frame: Frame, named: Sequence[Series], x: Axis, y: Axis) -> str | None:
    """What the page's script needs to read values: the plot's edges, and each line's points where they are drawn."""
    if not named:
        return None
    rows: list[list] = []
    for one in named:
        points = [point for point in _points(one) if point]
        places = [round(frame.x(point[0]), 1) for point in points]
        heights = [round(frame.y(point[1]), 1) for point in points]
        texts = [y.text(point[1]) for point in points]
        rows.append([one.name, one.colour, places, heights, [x.text(point[0]) for point in points], texts])
    # Lines over the same values share them.
    for row in rows[1:]:
        if row[2] == rows[0][2] and row[4] == rows[0][4]:
            row[2], row[4] = 0, 0
    edges = [round(edge, 1) for edge in (frame.x.start, frame.x.end, frame.y.end, frame.y.start)]
    content = {"edges": edges, "lines": rows, "x": x.label}
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))
