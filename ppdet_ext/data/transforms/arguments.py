"""Checks of the numbers that transforms are set up with."""

import math
from numbers import Integral, Real

from ppdet_ext.errors import UserError


def number_in(value: float, key: str, low: float, high: float = math.inf) -> float:
    """`value` if it is a finite number from `low` to `high`. Raises: UserError beginning with `key`."""
    if isinstance(value, bool) or not isinstance(value, Real) or not math.isfinite(value) or not low <= value <= high:
        raise UserError(f"{key}: {value!r} is no number {_range(low, high)}.")
    return value


def whole_number_in(value: int, key: str, low: int, high: float = math.inf) -> int:
    """`value` if it is a whole number from `low` to `high`. Raises: UserError beginning with `key`."""
    if isinstance(value, bool) or not isinstance(value, Integral) or not low <= value <= high:
        raise UserError(f"{key}: {value!r} is no whole number {_range(low, high)}.")
    return value


def _range(low: float, high: float) -> str:
    return f"of {low:g} or more" if high == math.inf else f"from {low:g} to {high:g}"
