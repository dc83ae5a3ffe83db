"""The heights and widths of images in a CSV of their own, as HuBMAP 2021's HuBMAP-20-dataset_information.csv."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from ppdet_ext.errors import UserError

from .csv_rows import first_rows
from .picture_names import Size

# What such columns are called, in small letters without "_".
_NAMES = ("imagefile", "filename", "imageid", "image", "id", "name", "img")
_HEIGHTS = ("heightpixels", "imgheight", "imageheight", "height", "rows")
_WIDTHS = ("widthpixels", "imgwidth", "imagewidth", "width", "cols")


def read_sizes(path: str) -> dict[str, Size]:
    """(height, width) in pixels by what the CSV calls an image, with and without the suffix of its file.

    Raises: UserError for a file that cannot be read, or lacks a column; two rows of an image that contradict each other; a
        height or width that is no positive whole number.
    """
    try:
        header, rows = first_rows(path, sys.maxsize)
    except OSError as fault:
        raise UserError(f"{path}: cannot be read ({fault.strerror}); sizes_path names it.") from None
    columns = [
        _place(path, header, called, what) for called, what in ((_NAMES, "name"), (_HEIGHTS, "height"), (_WIDTHS, "width"))
    ]
    found: dict[str, Size] = {}
    for cells in rows:
        name, *sides = (cells[place] for place in columns)
        if not all(side.isascii() and side.isdigit() and int(side) > 0 for side in sides):
            raise UserError(f"{path}: height {sides[0]!r} and width {sides[1]!r} of {name} must be whole numbers of pixels.")
        size = int(sides[0]), int(sides[1])
        for key in {name, os.path.splitext(name)[0]}:
            if found.setdefault(key, size) != size:
                raise UserError(f"{path}: {key} is {found[key][0]}x{found[key][1]} and {size[0]}x{size[1]} (height x width).")
    return found


def _place(path: str, header: Sequence[str], called: Sequence[str], what: str) -> int:
    plain = [text.lower().replace("_", "") for text in header]
    for name in called:
        if name in plain:
            return plain.index(name)
    raise UserError(f"{path}: none of the columns {', '.join(header)[:200]} is an image's {what} (called {', '.join(called)}).")


def size_in(sizes: Mapping[str, Size], name: str) -> Size | None:
    """The size of an image in what `read_sizes` gives, if it is there."""
    return sizes.get(name) or sizes.get(os.path.splitext(name)[0]) or sizes.get(os.path.basename(name))
