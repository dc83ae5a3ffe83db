"""Supervisely's projects: meta.json, and in each dataset's folder ann/<picture>.json beside img/.

Source: supervisely/geometry/bitmap.py (`base64_2_data`), geometry/polygon.py. A bitmap is base64(zlib(PNG)), with a palette
whose first colour is transparent.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from typing import Any

from ..collector import Collector, Unusable, tracked
from ..drawn import polygon_mask, rectangle_polygon
from ..index_maps import placed_mask, set_pixels
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import common_root, files_below
from ..parts import Part, add_parts, class_of, flat_points, group_of, kind_of, left_out, list_of, whole
from ..pictures import Pictures
from ..safety import MOST_PACKED, decode_base64, inflate, open_png, read_json

_OTHERS = {
    "line": "polylines", "polyline": "polylines", "point": "points", "graph": "skeletons", "cuboid": "cuboids",
    "cuboid_2d": "cuboids",
}  # fmt: skip
_SUBSETS = ("train", "val", "test")


def looks_like(head: Head) -> bool:
    """An annotation (size and objects with classTitle), or a folder with meta.json and annotations in folders ann."""
    if head.json is not None:
        return _is_annotation(head.json)
    annotations = [name for name in head.names if _in_ann(name)]
    return bool(annotations) and any(posixpath.basename(name) == "meta.json" for name in head.names)


def owns(name: str) -> bool:
    """Whether a file of a project's folder is the project's, by its relative name."""
    return _in_ann(name) or posixpath.basename(name) == "meta.json"


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read projects, or single annotations. Raises: UserError naming the file that is damaged or has no size."""
    collector = Collector("supervisely", pictures)
    files = files_below(paths, ".json")
    for path, name in files:
        if posixpath.basename(name) == "meta.json":
            _add_classes(collector, path)
    annotations = [(path, name) for path, name in files if _in_ann(name)] or files
    for path, name in tracked(annotations, "Annotations"):
        content = read_json(path)
        if not _is_annotation(content):
            collector.skip("files that are no annotation", path)
            continue
        folder, last = posixpath.split(name.removesuffix(".json"))
        dataset = posixpath.dirname(folder) if posixpath.basename(folder) == "ann" else folder
        picture = posixpath.join(dataset, "img", last) if dataset != folder or _in_ann(name) else last
        subset = next((part for part in dataset.split("/") if part in _SUBSETS), None)
        size = content["size"]
        image = collector.image(picture, size.get("height"), size.get("width"), path, subset)
        add_parts(collector, image, _parts(collector, content["objects"], image, path))
    return collector.result(common_root(paths))


def _is_annotation(content: Any) -> bool:
    if not isinstance(content, dict) or not isinstance(content.get("size"), dict):
        return False
    objects = content.get("objects")
    return isinstance(objects, list) and all(isinstance(item, dict) and "classTitle" in item for item in objects[:1])


def _in_ann(name: str) -> bool:
    return name.endswith(".json") and posixpath.basename(posixpath.dirname(name)) == "ann"


def _add_classes(collector: Collector, path: str) -> None:
    content = read_json(path)
    classes = content.get("classes") if isinstance(content, dict) else None
    for item in classes if isinstance(classes, list) else ():
        if isinstance(item, dict) and kind_of(item.get("shape")) not in _OTHERS:
            collector.add_class(item.get("title"), path)


def _parts(collector: Collector, objects: list, image: LabelledImage, path: str) -> Iterator[Part]:
    for number, item in enumerate(objects):
        where = f"{path}: object {number}"
        with left_out(collector, where, image):
            yield _part(collector, item, image.height, image.width, where)


def _part(collector: Collector, item: Any, height: int, width: int, where: str) -> Part:
    if not isinstance(item, dict):
        raise Unusable("objects that are no objects of JSON")
    kind = kind_of(item.get("geometryType") or ("bitmap" if item.get("bitmap") else "polygon"))
    if kind in _OTHERS:
        raise Unusable(_OTHERS[kind])
    name, group = class_of(item.get("classTitle")), group_of(item.get("instance"))
    bitmap = item.get("bitmap") or item.get("alpha_mask") or item.get("mask")
    if isinstance(bitmap, dict):
        x, y, *_ = [*flat_points(bitmap.get("origin")), None, None]
        png = inflate(decode_base64(bitmap.get("data"), MOST_PACKED, where), MOST_PACKED, where)
        # It may reach over the border.
        pixels = set_pixels(open_png(png, where, 4 * height * width))
        return Part(name, placed_mask(pixels, whole(x), whole(y), height, width), where, group)
    points = item.get("points")
    if not isinstance(points, dict):
        raise Unusable(f"objects of the type {kind}")
    outline, holes = flat_points(points.get("exterior")), [flat_points(hole) for hole in list_of(points.get("interior"))]
    if kind == "rectangle":
        if len(outline) != 4:
            raise Unusable("rectangles without two corners")
        collector.note("rectangles are read as masks, of all their pixels")
        # Both corners are pixels of the rectangle.
        x1, y1, x2, y2 = outline
        outline = rectangle_polygon(min(x1, x2), min(y1, y2), max(x1, x2) + 1, max(y1, y2) + 1)
    mask = polygon_mask([outline], height, width, holes)
    return Part(name, mask, where, group, None if holes else [outline])
