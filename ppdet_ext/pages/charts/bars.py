"""Bars: lying with a name and a value each, of several parts, and upright as a histogram."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ppdet_ext.pages.formats import clipped, columns_of, count, short

from . import svg
from .frame import LETTER, Axis, Frame
from .scale import Scale, range_of

ROW, THICK = 24, 14


@dataclass(frozen=True)
class Part:
    """A stretch of a bar: its length, its colour, and what hovering over it says."""

    value: float
    colour: str = "var(--accent)"
    title: str = ""


@dataclass(frozen=True)
class Bar:
    """A named bar of one or several parts, with the text at its end; `link` leads elsewhere in the page."""

    name: str
    parts: Sequence[Part]
    text: str = ""
    link: str | None = None


def bars(
    label: str, rows: Sequence[Bar], *, highest: float | None = None, width: float = 540, name_columns: int = 24
) -> Markup:
    """Lying bars, one below the other, in the order given. `highest`: value of the full length, or None for the longest bar's.

    Negative values lie to the left of a common zero; a bar's parts are then all of one sign.
    """
    names = [clipped(row.name, name_columns) for row in rows]
    totals = [sum(part.value for part in row.parts) for row in rows]
    left = max([columns_of(name) for name in names] or [0]) * LETTER + 12
    right = max([columns_of(row.text) for row in rows] or [0]) * LETTER + 10
    low, high = min([0.0, *totals]), max([0.0, *totals]) if highest is None else highest
    # Room for the texts of bars that go to the left.
    scale = Scale(low, high or 1.0, left + (right if low < 0 else 0), max(width - right, left + 60))
    parts = [_bar(row, name, scale, left, ROW * i) for i, (row, name) in enumerate(zip(rows, names))]
    parts.append(svg.upright(scale(0), 0, ROW * len(rows), "base"))
    return svg.canvas(width, max(ROW * len(rows), 1), label, *parts)


def _bar(row: Bar, name: str, scale: Scale, left: float, top: float) -> Markup:
    middle, at = top + ROW / 2, scale(0)
    pieces = [svg.text(left - 8, middle + 4, name, "end", "name")]
    position = 0.0
    for part in row.parts:
        start, end = sorted((scale(position), scale(position + part.value)))
        position += part.value
        hover = svg.title(part.title or f"{row.name}: {short(part.value)}")
        drawn = svg.rectangle(start, middle - THICK / 2, end - start, THICK, hover, class_="bar", style=f"fill:{part.colour}")
        pieces.append(drawn)
        at = scale(position)
    negative = position < 0
    pieces.append(svg.text(at + (-6 if negative else 6), middle + 4, row.text, "end" if negative else "start", "value"))
    whole = svg.element("g", svg.title(row.name), *pieces)
    return svg.element("a", whole, href=row.link) if row.link else whole


def _cut(totals: Sequence[float]) -> float:
    """Above which bars are cut off: somewhat more than the second highest one where the highest is far above it."""
    *_, second, highest = sorted([0.0, 0.0, *totals])
    return second * 1.25 if highest > 4 * second > 0 else highest


@dataclass(frozen=True)
class Group:
    """A layer of a histogram: how many fall into each bin."""

    name: str
    counts: Sequence[float]
    colour: str = "var(--accent)"


def histogram(
    label: str,
    edges: Sequence[float],
    groups: Sequence[Group],
    x_label: str,
    *,
    y_label: str = "",
    text: Callable[[float], str] = short,
    log: bool = False,
    verticals: Sequence[tuple[float, str]] = (),
    width: float = 540,
    height: float = 240,
) -> Markup:
    """Counts between n + 1 ascending edges, groups upon each other. log: the edges are drawn so. verticals: (x, words).

    A bar that would dwarf all others is cut off, and says how high it is.
    """
    totals = [sum(group.counts[i] for group in groups) for i in range(len(edges) - 1)]
    x = Axis(x_label, (edges[0], edges[-1]), text, log)
    # Above the bars there is room for the words of upright lines.
    room = 1.12 if verticals else 1.0
    top = _cut(totals)
    y = Axis(y_label, range_of([min(total, top) * room for total in totals], zero=True), count)
    frame = Frame.of(width, height, x, y)
    parts = [frame.drawn(x, y)]
    for i, (low, high) in enumerate(zip(edges[:-1], edges[1:])):
        under = 0.0
        said = "".join(f"\n{group.name}: {count(group.counts[i])}" for group in groups)
        left, right = frame.x(low), frame.x(high)
        for group in groups:
            bottom, top = frame.y(under), frame.y(under + group.counts[i])
            under += group.counts[i]
            if bottom > top:
                wide = max(right - left - 1, 0.6)
                parts.append(svg.rectangle(left + 0.5, top, wide, bottom - top, class_="bar", style=f"fill:{group.colour}"))
        if totals[i] > y.range[1]:
            # Beside the bar, on the side where there is room.
            words = f"{count(totals[i])} ↑"
            first = left < (frame.x.start + frame.x.end) / 2
            parts.append(
                svg.text(right + 4 if first else left - 4, frame.y.end + 9, words, "start" if first else "end", "note")
            )
        # The whole column answers a pointer, empty bins too.
        hover = svg.title(f"{text(low)} – {text(high)}{said}")
        parts.append(svg.rectangle(left, frame.y.end, right - left, frame.y.start - frame.y.end, hover, class_="column"))
    parts += [frame.upright(place, words) for place, words in verticals]
    return svg.canvas(width, height, label, *parts)
