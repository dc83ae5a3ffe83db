"""Pascal VOC's colours of classes: what index PNGs and labels have in many tools."""

from __future__ import annotations


def colour(index: int) -> tuple[int, int, int]:
    """(red, green, blue) of an index; 0 is black. The bits of the index, three by three, become the highest of each colour.

    Source: `VOClabelcolormap` of the VOC development kit.
    """
    red = green = blue = 0
    for bit in range(7, -1, -1):
        red |= (index & 1) << bit
        green |= (index >> 1 & 1) << bit
        blue |= (index >> 2 & 1) << bit
        index >>= 3
    return red, green, blue


def hex_colour(index: int) -> str:
    """As "#800000"."""
    return "#{:02x}{:02x}{:02x}".format(*colour(index))


def palette() -> list[int]:
    """The 256 colours of an indexed PNG, flat."""
    return [value for index in range(256) for value in colour(index)]
