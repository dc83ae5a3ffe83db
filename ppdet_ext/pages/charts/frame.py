"""The frame of a chart with two axes: faint lines, tick labels and what the axes are."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from ppdet_ext.pages.formats import columns_of, short

from . import svg
from .scale import Scale

LETTER = 6.6  # units of a column of text, at 12 units a line
LINE = 15


@dataclass(frozen=True)
class Axis:
    """What an axis shows. range: (low, high). text: of a tick and of hovered values. ticks: values, or None for round ones."""

    label: str
    range: tuple[float, float] = (0.0, 1.0)
    text: Callable[[float], str] = short
    log: bool = False
    ticks: Sequence[float] | None = None


@dataclass(frozen=True)
class Frame:
    """The plot's place in a picture of width x height units, and its scales."""

    width: float
    height: float
    x: Scale
    y: Scale

    @classmethod
    def of(cls, width: float, height: float, x: Axis, y: Axis, right: float = 14) -> "Frame":
        """The place that labels leave; `right`: units for labels at the lines' ends."""
        widest = max([columns_of(y.text(tick)) for tick in _ticks(y, 0, height)] or [1])
        left = widest * LETTER + 12
        plot_x = Scale(*x.range, left, max(width - right, left + 40), x.log)
        return cls(width, height, plot_x, Scale(*y.range, height - 38 if x.label else height - 22, 22 if y.label else 8, y.log))

    def drawn(self, x: Axis, y: Axis) -> Markup:
        """Grid lines across, ticks and labels."""
        parts = []
        for value in _ticks(y, self.y.start, self.y.end):
            place = self.y(value)
            parts.append(svg.level(self.x.start, self.x.end, place, "grid"))
            parts.append(svg.text(self.x.start - 7, place + 4, y.text(value), "end", "tick"))
        last = -1e9
        for value in _ticks(x, self.x.start, self.x.end):
            place, half = self.x(value), columns_of(x.text(value)) * LETTER / 2
            # Ticks whose labels would touch are left out.
            if place - half < last + 8:
                continue
            last = place + half
            parts.append(svg.text(place, self.y.start + 16, x.text(value), "middle", "tick"))
        parts.append(svg.level(self.x.start, self.x.end, self.y.start, "base"))
        if x.label:
            parts.append(svg.text((self.x.start + self.x.end) / 2, self.height - 5, x.label, "middle", "axis"))
        if y.label:
            parts.append(svg.text(0, 11, y.label, "start", "axis"))
        return Markup("").join(parts)

    def upright(self, value: float, words: str) -> Markup:
        """A dashed line at a value of x, such as a threshold, with its words beside it."""
        at = self.x(value)
        right = at < (self.x.start + self.x.end) / 2
        line = svg.upright(at, self.y.start, self.y.end, "upright")
        return line + svg.text(at + (5 if right else -5), self.y.end + 10, words, "start" if right else "end", "note")


def _ticks(axis: Axis, start: float, end: float) -> Sequence[float]:
    return axis.ticks if axis.ticks is not None else Scale(*axis.range, start, end, axis.log).ticks()
