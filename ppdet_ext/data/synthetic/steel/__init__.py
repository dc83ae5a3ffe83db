"""Rolled steel with four kinds of labelled defects."""

from .kind import SteelKind
from .sheet import Sheet, make_sheet

__all__ = ["Sheet", "SteelKind", "make_sheet"]
