"""VGG Image Annotator's JSON and CSV: regions of VIA 1 (an object) and 2 (a list), and VIA 2's project file.

Source: VIA's via.js (`via_regions`, `import_annotations_from_json`). The files tell no picture's size, and the class stands in
an attribute of a name that the user has chosen.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from ppdet_ext.errors import UserError

from ..collector import Collector, Unusable
from ..drawn import ellipse_polygon, polygon_mask, rectangle_polygon
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import common_root
from ..parts import Part, add_parts, kind_of, left_out
from ..pictures import Pictures
from ..safety import last_part, read_csv, read_json, safe_name

_PROJECT = "_via_img_metadata"
# What people call the attribute of the class, the likeliest first.
_USUAL = ("class", "label", "category", "type", "name", "object", "objects", "class_name", "label_name", "defect", "species")
_WITHOUT_CHOICE = ("text", "image")
# People close a shape as a polyline, to a pixel or so: the gap, as a part of its length.
_GAP = 0.02
_NUMBERS = {
    "rect": ("x", "y", "width", "height"),
    "circle": ("cx", "cy", "r"),
    "ellipse": ("cx", "cy", "rx", "ry"),
}


def looks_like(head: Head) -> bool:
    """A project, an object whose first value has filename and regions, or a CSV of regions' attributes."""
    if _PROJECT in head.keys or _is_table(head.start):
        return True
    first = next(iter(head.json.values()), None) if isinstance(head.json, dict) and head.json else None
    return isinstance(first, dict) and {"filename", "regions"} <= first.keys()


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read files. Raises: UserError where no picture is found, which alone tell the size, or no attribute tells the class."""
    collector = Collector("via", pictures)
    if pictures.folder is None:
        raise UserError(f"{paths[0]}: VIA's files tell no size of a picture. Say where the pictures are: --images DIR.")
    contents = [(path, *_content(path)) for path in paths]
    attribute = _class_attribute(contents, collector)
    missing = ""
    for path, entries, _ in contents:
        for key, entry in entries.items():
            where = f"{path}: {key}"
            name = _name(entry.get("filename"), where)
            if pictures.find(name) is None:
                collector.skip("pictures that were not found", name)
                missing = missing or pictures.why_missing(name)
                continue
            height, width = pictures.size(name)
            image = collector.image(name, height, width, where)
            add_parts(collector, image, _parts(collector, _regions(entry), attribute, image, where))
    return collector.result(common_root(paths), missing and f"VIA's files tell no size of a picture. {missing}")


def _is_table(start: bytes) -> bool:
    header = start.decode("utf-8-sig", "ignore").partition("\n")[0].lstrip("#")
    return {"filename", "region_shape_attributes", "region_attributes"} <= {column.strip() for column in header.split(",")}


def _table(path: str) -> dict[str, dict]:
    """Pictures of a CSV, in which each region is a row with two cells of JSON."""
    entries: dict[str, dict] = {}
    header, *rows = read_csv(path)
    header = [column.strip().lstrip("#") for column in header]
    for number, cells in enumerate(rows, 2):
        row = dict(zip(header, cells))
        try:
            region = {key: json.loads(row[f"region_{key}"]) for key in ("shape_attributes", "attributes")}
        except (KeyError, ValueError, RecursionError):
            raise UserError(f"{path}: row {number} has no JSON in its region's cells.") from None
        entry = entries.setdefault(row["filename"], {"filename": row["filename"], "regions": []})
        # Of a picture without a region these are empty.
        if region["shape_attributes"]:
            entry["regions"].append({"shape_attributes": region["shape_attributes"], "region_attributes": region["attributes"]})
    return entries


def _content(path: str) -> tuple[dict[str, dict], dict]:
    """(pictures by key, description of the regions' attributes in a project)."""
    with open(path, "rb") as file:
        if _is_table(file.read(256)):
            return _table(path), {}
    content = read_json(path)
    if not looks_like(Head(path, json=content)):
        raise UserError(f"{path}: not of VIA, no pictures with filename and regions.")
    entries = content.get(_PROJECT, content)
    attributes = content.get("_via_attributes")
    described = attributes.get("region") if isinstance(attributes, dict) else None
    if not isinstance(entries, dict):
        raise UserError(f"{path}: {_PROJECT} is no object.")
    kept = {key: entry for key, entry in entries.items() if isinstance(entry, dict) and "filename" in entry}
    return kept, described if isinstance(described, dict) else {}


def _name(written: Any, where: str) -> str:
    """The file name; of a URL, the last part."""
    return (
        last_part(written.partition("?")[0], where)
        if isinstance(written, str) and "://" in written
        else safe_name(written, where)
    )


def _regions(entry: dict) -> list[dict]:
    """VIA 1 has an object of numbers, VIA 2 a list."""
    regions = entry.get("regions")
    values = regions.values() if isinstance(regions, dict) else regions if isinstance(regions, list) else []
    return [region for region in values if isinstance(region, dict)]


def _class_attribute(contents: list[tuple[str, dict, dict]], collector: Collector) -> str | None:
    """The attribute that tells the class: of those with a choice (a project tells), of a usual name, of most regions."""
    filled: Counter[str] = Counter()
    values: dict[str, set[str]] = {}
    choices: set[str] = set()
    for _, entries, described in contents:
        choices |= {
            key for key, item in described.items() if isinstance(item, dict) and item.get("type") not in _WITHOUT_CHOICE
        }
        for entry in entries.values():
            for region in _regions(entry):
                for key, value in _attributes(region).items():
                    if value not in ("", None, {}):
                        filled[key] += 1
                        values.setdefault(key, set()).add(str(value))
    if not filled:
        collector.note("no region has an attribute that tells a class: all are called object")
        return None

    def rank(key: str) -> tuple:
        usual = _USUAL.index(key.lower()) if key.lower() in _USUAL else len(_USUAL)
        return key not in choices, usual, -filled[key], len(values[key]), key

    chosen = min(filled, key=rank)
    others = sorted(set(filled) - {chosen})
    collector.note(f"the class is the attribute {chosen!r}" + (f"; others are {', '.join(others)}" if others else ""))
    return chosen


def _attributes(region: dict) -> dict:
    attributes = region.get("region_attributes")
    return attributes if isinstance(attributes, dict) else {}


def _parts(
    collector: Collector, regions: list[dict], attribute: str | None, image: LabelledImage, where: str
) -> Iterator[Part]:
    for number, region in enumerate(regions):
        place = f"{where}, region {number}"
        with left_out(collector, place, image):
            polygon = _outline(collector, region.get("shape_attributes"))
            name = "object" if attribute is None else _class(_attributes(region).get(attribute))
            yield Part(name, polygon_mask([polygon], image.height, image.width), place, polygons=[polygon])


def _class(value: Any) -> str:
    """A text, or the one box of {class: true} that is ticked."""
    if isinstance(value, dict):
        ticked = [str(key) for key, on in value.items() if on in (True, "true", "True", 1)]
        if len(ticked) > 1:
            raise Unusable("regions with several classes ticked")
        value = ticked[0] if ticked else None
    if not isinstance(value, str) or not value.strip():
        raise Unusable("regions without a class")
    return value.strip()


def _outline(collector: Collector, shape: Any) -> list[float]:
    if not isinstance(shape, dict):
        raise Unusable("regions without a shape")
    kind = kind_of(shape.get("name"))
    if kind in ("polygon", "polyline"):
        try:
            xs, ys = [[float(value) for value in shape[key]] for key in ("all_points_x", "all_points_y")]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise Unusable("shapes whose points are no numbers") from None
        if len(xs) != len(ys):
            raise Unusable("polygons with an x without a y")
        if kind == "polyline":
            points = list(zip(xs, ys))
            length = sum(map(math.dist, points, points[1:]))
            if len(points) < 4 or math.dist(points[0], points[-1]) > _GAP * length:
                raise Unusable("polylines")
            collector.note("polylines that end where they began are read as polygons; open ones are left out")
        return [value for point in zip(xs, ys) for value in point]
    if kind not in _NUMBERS:
        raise Unusable("points" if kind == "point" else f"shapes of the type {kind}")
    try:
        numbers = [float(shape[key]) for key in _NUMBERS[kind]]
        degrees = float(shape.get("theta", 0.0)) * 57.29577951308232
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Unusable(f"shapes of the type {kind} without its numbers") from None
    collector.note("rectangles, circles and ellipses are read as masks, of all their pixels")
    if kind == "rect":
        x, y, w, h = numbers
        return rectangle_polygon(x, y, x + w, y + h)
    # A circle has one radius.
    cx, cy, radius_x, radius_y = [*numbers, numbers[-1]][:4]
    return ellipse_polygon(cx, cy, radius_x, radius_y, degrees)
