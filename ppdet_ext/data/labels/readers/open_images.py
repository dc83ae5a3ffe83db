"""Open Images' segmentations: a CSV that names a PNG for each object.

Source: storage.googleapis.com/openimages/web/download_v7.html. A PNG may have been drawn on a smaller copy of the picture, so
it is resized to it. Names of the classes stand in a second CSV, `*class-descriptions*.csv`.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterator

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, Unusable, tracked
from ..index_maps import set_pixels
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import common_root, files_below
from ..parts import Part, add_parts, left_out
from ..pictures import Pictures
from ..safety import open_png, read_csv, safe_name

_COLUMNS = ("MaskPath", "ImageID", "LabelName")
_DESCRIPTIONS = "class-descriptions"
_SUBSETS = {"train": "train", "validation": "val", "val": "val", "test": "test"}

Rows = dict[str, list[tuple[str, str, str]]]


def looks_like(head: Head) -> bool:
    """A CSV with the columns MaskPath, ImageID, LabelName, or a folder with one."""
    if not head.names:
        return _is_table(head.start)
    tables = [name for name in head.names if name.lower().endswith(".csv")]
    return any(_is_table(_start(os.path.join(head.path, name))) for name in tables[:50])


def _is_table(start: bytes) -> bool:
    header = start.decode("utf-8-sig", "ignore").partition("\n")[0]
    return set(_COLUMNS) <= {column.strip() for column in header.split(",")}


def _start(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(256)


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read tables; the PNGs are looked for below their folder.

    Raises: UserError for a table that lacks a column, and for PNGs of one picture that differ in size where it is not there.
    """
    collector = Collector("open_images", pictures)
    tables = [path for path, _ in files_below(paths, ".csv") if _is_table(_start(path))]
    if not tables:
        raise UserError(f"{', '.join(paths)}: no table with the columns {', '.join(_COLUMNS)}.")
    root = common_root(paths)
    files = {os.path.basename(path): path for path, _ in files_below([root], ".png")}
    names = _class_names([root])
    collector.pass_over(lambda name: name.rpartition("/")[2] in files)
    for table in tables:
        subset = next((own for start, own in _SUBSETS.items() if os.path.basename(table).startswith(start)), None)
        for image_id, rows in tracked(list(_rows(table, files, collector).items()), "Open Images"):
            _add(collector, image_id, rows, names, subset)
    return collector.result(root, "The PNGs are in sixteen archives: unpack them beside the table.")


def _rows(table: str, files: dict[str, str], collector: Collector) -> Rows:
    """(place, PNG's file, label) of each row by picture; of the millions of rows only those whose PNG is there are kept."""
    found: Rows = defaultdict(list)
    rows = read_csv(table)
    header = [column.strip() for column in next(rows)]
    chosen = [header.index(column) for column in _COLUMNS]
    for number, cells in enumerate(filter(None, rows), 2):
        mask, image, label = (cells[place].strip() if place < len(cells) else "" for place in chosen)
        if not mask or not image or not label:
            raise UserError(f"{table}: row {number} lacks one of {', '.join(_COLUMNS)}.")
        file = files.get(os.path.basename(mask))
        if file is None:
            collector.skip("masks whose PNG is missing", f"{table}: row {number} ({mask})")
        else:
            found[image].append((f"{table}: row {number}", file, label))
    return found


def _class_names(folders: list[str]) -> dict[str, str]:
    """Name by label ("/m/01bl7v" -> "Boy") of the descriptions, with or without a header."""
    found = {}
    for path, name in files_below(folders, ".csv"):
        if _DESCRIPTIONS in name:
            found.update({row[0].strip(): row[1].strip() for row in read_csv(path) if len(row) >= 2})
    found.pop("LabelName", None)
    return found


def _add(
    collector: Collector, image_id: str, rows: list[tuple[str, str, str]], names: dict[str, str], subset: str | None
) -> None:
    safe_name(image_id, rows[0][0])
    picture = collector.pictures.find(f"{image_id}.jpg", subset)
    if picture is not None:
        height, width = collector.pictures.size(f"{image_id}.jpg", subset)
    else:
        collector.note("pictures that are not there get the size of their masks' PNGs, which may be smaller: give --images DIR")
        height, width = open_png(rows[0][1]).shape[:2]
    image = collector.image(f"{image_id}.jpg", height, width, rows[0][0], subset)
    add_parts(collector, image, _parts(collector, rows, names, image, picture is not None))


def _parts(
    collector: Collector, rows: list[tuple[str, str, str]], names: dict[str, str], image: LabelledImage, resize: bool
) -> Iterator[Part]:
    for place, file, label in rows:
        with left_out(collector, place, image):
            pixels = set_pixels(open_png(file))
            part = Part(names.get(label, label), Rle.from_bitmap(pixels), place)
            if part.mask.size != (image.height, image.width):
                if not resize:
                    raise Unusable("masks of another size than the first of their picture, which is not there")
                collector.note("masks of another size than their picture are resized to it, nearest pixel")
                part.mask = part.mask.resize(image.height, image.width)
            yield part
