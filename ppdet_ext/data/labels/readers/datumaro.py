"""Datumaro's JSON: items with annotations whose `label_id` counts the label categories; a file for each subset.

Source: datumaro/plugins/data_formats/datumaro (CVAT exports it too). A mask is COCO's RLE, a polygon is flat, an ellipse the
box around it.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, Spoiling, Unusable, subset_name, tracked
from ..drawn import ellipse_polygon, polygon_mask
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import common_root
from ..parts import NO_CLASS, NoObject, Part, add_parts, flat_points, group_of, kind_of, left_out, list_of
from ..pictures import Pictures
from ..safety import read_json

_OTHERS = {
    "bbox": "boxes without a mask", "rotated_bbox": "boxes without a mask", "polyline": "polylines", "points": "points",
    "label": "labels of whole pictures", "caption": "captions", "skeleton": "skeletons", "cuboid_3d": "cuboids",
    "cuboid_2d": "cuboids", "feature_vector": "feature vectors", "hash_key": "hash keys",
}  # fmt: skip
_NO_OBJECTS = ("label", "caption", "feature_vector", "hash_key")


def looks_like(head: Head) -> bool:
    """An object with categories (an object) and items."""
    return {"categories", "items"} <= head.keys and isinstance(head.json["categories"], dict)


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read files; annotations of one label and one group but 0 are one object.

    Raises: UserError for a file of another content, or whose picture's size is told nowhere.
    """
    collector = Collector("datumaro", pictures)
    for path in paths:
        content = read_json(path)
        if not looks_like(Head(path, json=content)) or not isinstance(content["items"], list):
            raise UserError(f"{path}: not of Datumaro, no object with categories and items.")
        names = _names(content["categories"], path, collector)
        subset = subset_name(os.path.splitext(os.path.basename(path))[0])
        for number, item in enumerate(tracked(content["items"], "Datumaro")):
            where = f"{path}: item {number}"
            if not isinstance(item, dict):
                raise UserError(f"{where} is no object.")
            annotations = [entry for entry in list_of(item.get("annotations")) if isinstance(entry, dict)]
            name, size = _picture(item, annotations, where)
            maskless = all(kind_of(entry.get("type")) in _OTHERS for entry in annotations)
            if size is None and maskless and pictures.find(name, subset) is None:
                collector.skip("pictures without a mask and without a size", where)
                continue
            height, width = size or pictures.size(name, subset)
            image = collector.image(name, height, width, where, subset)
            add_parts(collector, image, _parts(collector, annotations, names, image, where))
    return collector.result(common_root(paths))


def _names(categories: dict, path: str, collector: Collector) -> list[str]:
    try:
        names = [str(label["name"]) for label in categories["label"]["labels"]]
    except (KeyError, TypeError):
        raise UserError(f"{path}: categories.label.labels names no classes.") from None
    for name in names:
        if name.lower() not in NO_CLASS:
            collector.add_class(name, path)
    return names


def _picture(item: dict, annotations: list[dict], where: str) -> tuple[str, list | None]:
    """Name of an item's picture, and [height, width] as told, or as a mask of it has."""
    media = item.get("image") or item.get("media")
    media = media if isinstance(media, dict) else {}
    # The path may be that of the annotator's machine; the id is relative, without a suffix.
    path = media.get("path")
    suffix = posixpath.splitext(path)[1] if isinstance(path, str) and path else ".jpg"
    if not isinstance(item.get("id"), str | int):
        raise UserError(f"{where}: has no id.")
    sizes = [media.get("size"), *(entry["rle"].get("size") for entry in annotations if isinstance(entry.get("rle"), dict))]
    return f"{item['id']}{suffix}", next((size for size in sizes if isinstance(size, list) and len(size) == 2), None)


def _parts(collector: Collector, annotations: list[dict], names: list[str], image: LabelledImage, where: str) -> Iterator[Part]:
    for number, entry in enumerate(annotations):
        place = f"{where}, annotation {number}"
        with left_out(collector, place, image):
            yield _part(collector, entry, names, image.height, image.width, place)


def _part(collector: Collector, entry: dict, names: list[str], height: int, width: int, where: str) -> Part:
    kind, label = kind_of(entry.get("type")), entry.get("label_id")
    if kind in _OTHERS:
        raise (NoObject if kind in _NO_OBJECTS else Unusable)(_OTHERS[kind])
    if not isinstance(label, int):
        raise Unusable("objects without a label")
    if not 0 <= label < len(names):
        raise Spoiling("objects of a label that the categories do not have")
    if names[label].lower() in NO_CLASS:
        raise NoObject(f"objects named {names[label]}")
    attributes = entry.get("attributes")
    attributes = attributes if isinstance(attributes, dict) else {}
    part = Part(names[label], Rle.empty(height, width), where, group_of(entry.get("group")))
    part.crowd = attributes.get("is_crowd") is True
    if isinstance(score := attributes.get("score"), int | float):
        part.score = float(score)
    if kind == "mask":
        part.mask = Rle.from_coco(entry.get("rle") or {})
        if part.mask.size != (height, width):
            raise Unusable("masks of another size than their picture")
        return part
    points = flat_points(entry.get("points"))
    if kind == "ellipse":
        if len(points) != 4:
            raise Unusable("ellipses without the box around them")
        collector.note("ellipses are read as masks, drawn as polygons of many corners")
        x1, y1, x2, y2 = points
        points = ellipse_polygon((x1 + x2) / 2, (y1 + y2) / 2, abs(x2 - x1) / 2, abs(y2 - y1) / 2)
    elif kind != "polygon":
        raise Unusable(f"annotations of the type {kind}")
    part.mask, part.polygons = polygon_mask([points], height, width), [points]
    return part
