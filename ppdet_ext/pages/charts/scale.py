"""Scales of axes: from values to units of the picture, with ticks at round numbers."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Scale:
    """Values `low`…`high` on `start`…`end` units; `log` for positive values over several powers of ten."""

    low: float
    high: float
    start: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """The place of a value; what lies outside stays at the edge."""
        low, high, value = (self._bent(number) for number in (self.low, self.high, value))
        share = (value - low) / (high - low) if high > low else 0.5
        return self.start + (self.end - self.start) * min(max(share, 0.0), 1.0)

    def _bent(self, value: float) -> float:
        return math.log10(max(value, 1e-300)) if self.log else value

    def ticks(self, count: int = 5) -> list[float]:
        """Round values on the axis."""
        return log_ticks(self.low, self.high) if self.log else nice_ticks(self.low, self.high, count)


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` multiples of 1, 2, 2.5 or 5 times a power of ten within [low, high]."""
    if not high > low:
        return [low]
    rough = (high - low) / max(count, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next((factor * power for factor in (1, 2, 2.5, 5) if factor * power >= rough * 0.999), 10 * power)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # Twelve digits, so that 0.30000000000000004 is 0.3.
    return [float(f"{step * n:.12g}") for n in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten in [low, high]; 1, 2 and 5 times them where there are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1,) if len(powers) > 4 else (1, 2, 5)
    found = [factor * 10.0**power for power in powers for factor in factors]
    return [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]


def range_of(values: Iterable[float | None], *, zero: bool = False, log: bool = False) -> tuple[float, float]:
    """Least and greatest finite value, widened to the next ticks; (0, 1) of none.

    zero: the range begins at 0 (or ends there, of negative values). log: values up to 0 do not count.
    """
    finite = [value for value in values if value is not None and math.isfinite(value) and (value > 0 or not log)]
    if not finite:
        return (1.0, 10.0) if log else (0.0, 1.0)
    low, high = min(finite), max(finite)
    if log:
        return (low, high) if high > low else (low / 2, high * 2)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    # Values that differ by rounding alone are one.
    if high - low <= max(1e-12 * max(abs(low), abs(high)), 1e-200):
        return (low, low + 1.0) if zero else (low - 0.5, high + 0.5)
    steps = nice_ticks(low, high)
    step = steps[1] - steps[0] if len(steps) > 1 else high - low
    return math.floor(low / step + 1e-9) * step, math.ceil(high / step - 1e-9) * step


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """The places, moved as little as needed for labels to stand `gap` apart within [low, high]; their order is kept."""
    order = sorted(range(len(places)), key=lambda i: places[i])
    moved = list(places)
    edge = low
    for i in order:
        moved[i] = max(moved[i], edge)
        edge = moved[i] + gap
    edge = high
    for i in reversed(order):
        moved[i] = min(moved[i], edge)
        edge = moved[i] - gap
    return moved
