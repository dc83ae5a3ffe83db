"""Charts as inline SVG: no library, a few kB each, both themes by CSS variables, values by hovering, fit for paper."""

from .bars import Bar, Group, Part, bars, histogram
from .frame import Axis
from .grids import heat_map, matrix
from .lines import Mark, Series, lines
from .points import Interval, Point, intervals, scatter
from .scale import log_ticks, nice_ticks, range_of

__all__ = [
    "Axis",
    "Bar",
    "Group",
    "Interval",
    "Mark",
    "Part",
    "Point",
    "Series",
    "bars",
    "heat_map",
    "histogram",
    "intervals",
    "lines",
    "log_ticks",
    "matrix",
    "nice_ticks",
    "range_of",
    "scatter",
]
