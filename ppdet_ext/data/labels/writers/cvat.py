"""CVAT for images 1.1: an XML file that CVAT takes under Upload annotations; masks, and polygons that were drawn."""

from __future__ import annotations

import re
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle, rle_codec

from ..collector import tracked
from ..label_set import LabelledImage, LabelledObject, LabelSet
from .common import DEFAULTS, WriteOptions, Written, drawn_polygon
from .palette import hex_colour

FILE = "annotations.xml"
_DIGITS = 2  # of coordinates, as CVAT writes them
# What XML 1.0 has no way to write.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def write(labels: LabelSet, out: Path, options: WriteOptions = DEFAULTS) -> Written:
    """Write `annotations.xml`. CVAT finds the frame by the picture's name; the task must have these labels.

    Scores have no place there: they decide which of two objects lies on top (`z_order`), and are lost.

    Raises: UserError for a name that XML cannot hold, or where it cannot be written.
    """
    done = Written(options)
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", *_meta(labels)]
    for number, image in enumerate(tracked(labels.images, "CVAT")):
        lines += _image_lines(number, image, done)
    lines.append("</annotations>\n")
    done.text(out / FILE, "\n".join(lines))
    return done


def box_counts(mask: Rle) -> tuple[list[int], tuple[int, int, int, int]]:
    """(counts, (left, top, width, height)) of a mask that is not empty: along the rows of its box, background first."""
    x1, y1, x2, y2 = map(int, mask.box)
    counts = rle_codec.decompress(mask.crop(y1, x1, y2, x2).transpose().counts)
    return counts.tolist(), (x1, y1, x2 - x1, y2 - y1)


def _meta(labels: LabelSet) -> list[str]:
    lines = ["  <meta>", "    <task>", f"      <size>{len(labels.images)}</size>", "      <mode>annotation</mode>"]
    lines.append("      <labels>")
    for number, name in enumerate(labels.class_names):
        shown = f"<name>{escape(_checked(name))}</name><color>{hex_colour(number + 1)}</color><attributes></attributes>"
        lines.append(f"        <label>{shown}</label>")
    return [*lines, "      </labels>", "    </task>", "  </meta>"]


def _image_lines(number: int, image: LabelledImage, done: Written) -> list[str]:
    subset = "" if image.subset is None else f" subset={_quoted(image.subset)}"
    head = f'id="{number}" name={_quoted(image.name)}{subset} width="{image.width}" height="{image.height}"'
    kept = done.kept(image)
    done.lost["scores"] += sum(own.score is not None for own in kept)
    # A higher score lies on top; what has none, in the file's order.
    order = sorted(range(len(kept)), key=lambda place: kept[place].score or 0.0)
    depths = {place: depth for depth, place in enumerate(order)}
    return [f"  <image {head}>", *(_line(own, depths[place]) for place, own in enumerate(kept)), "  </image>"]


def _line(own: LabelledObject, depth: int) -> str:
    source = "manual" if own.score is None else "auto"
    head = f'label={_quoted(own.class_name)} source="{source}" occluded="0"'
    polygon = drawn_polygon(own, _DIGITS)
    if polygon is not None:
        points = ";".join(f"{x:.{_DIGITS}f},{y:.{_DIGITS}f}" for x, y in polygon)
        return f'    <polygon {head} points="{points}" z_order="{depth}"></polygon>'
    counts, (left, top, width, height) = box_counts(own.mask)
    place = f'left="{left}" top="{top}" width="{width}" height="{height}"'
    return f'    <mask {head} rle="{", ".join(map(str, counts))}" {place} z_order="{depth}"></mask>'


def _quoted(text: str) -> str:
    return quoteattr(_checked(text))


def _checked(text: str) -> str:
    if found := _FORBIDDEN.search(text):
        raise UserError(
            f"{text!a}: XML, and so CVAT's file, cannot hold the character {found[0]!a}. Rename the picture or class."
        )
    return text
