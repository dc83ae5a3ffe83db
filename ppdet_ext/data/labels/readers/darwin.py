"""V7 Darwin's JSON, version 2 (and 1): polygons, and masks in a raster layer over the whole picture, row by row.

Source: darwin-py, darwin/utils/utils.py. A raster layer's dense_rle is (value, count) pairs; an annotation that is a mask is
empty itself, its value stands in the layer's mask_annotation_ids_mapping. Several paths of a polygon are parts or holes, by
even–odd.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, Unusable, tracked
from ..drawn import ellipse_polygon, even_odd_mask
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import common_root
from ..parts import NoObject, Part, add_parts, class_of, flat_points, left_out, list_of
from ..pictures import Pictures
from ..safety import read_json

_OTHERS = {
    "line": "polylines", "keypoint": "points", "skeleton": "skeletons", "cuboid": "cuboids", "string": "texts",
    "table": "tables", "link": "links", "graph": "skeletons", "simple_table": "tables",
}  # fmt: skip
_POLYGONS = ("polygon", "complex_polygon")


def looks_like(head: Head) -> bool:
    """Version 2: item (with slots) and annotations; version 1: dataset, image and annotations."""
    if not isinstance(head.json, dict) or not isinstance(head.json.get("annotations"), list):
        return False
    item = head.json.get("item")
    return (isinstance(item, dict) and "slots" in item) or {"dataset", "image"} <= head.keys


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read files. Raises: UserError for a file of another content, a video, or a size that is told nowhere."""
    collector = Collector("darwin", pictures)
    for path in tracked(paths, "V7 Darwin"):
        content = read_json(path)
        if not looks_like(Head(path, json=content)):
            raise UserError(f"{path}: not of V7 Darwin, no object with item and annotations.")
        name, height, width, slot = _picture(content, path)
        if not height or not width:
            height, width = pictures.size(name)
        image = collector.image(name, height, width, path)
        add_parts(collector, image, _parts(collector, content["annotations"], slot, image, path))
    return collector.result(common_root(paths))


def _picture(content: dict, path: str) -> tuple[str, Any, Any, str | None]:
    """(name, height, width, name of the slot) of the first picture."""
    item = content.get("item")
    if not isinstance(item, dict):
        image = content["image"] if isinstance(content.get("image"), dict) else {}
        return _joined(image.get("path"), image.get("filename"), path), image.get("height"), image.get("width"), None
    slots = item.get("slots")
    slot = slots[0] if isinstance(slots, list) and slots and isinstance(slots[0], dict) else {}
    if slot.get("type", "image") != "image":
        raise UserError(f"{path}: a slot of the type {slot['type']}; only pictures are read. Export the frames as pictures.")
    return _joined(item.get("path"), item.get("name"), path), slot.get("height"), slot.get("width"), slot.get("slot_name")


def _joined(folder: Any, name: Any, path: str) -> str:
    """Darwin's folders begin with a / that means the data set."""
    if not isinstance(name, str) or not name:
        raise UserError(f"{path}: the picture has no name.")
    return f"{folder.strip('/')}/{name}".lstrip("/") if isinstance(folder, str) else name


def _parts(collector: Collector, annotations: list, slot: str | None, image: LabelledImage, path: str) -> Iterator[Part]:
    layers: dict[str, Rle] = {}
    items = [item for item in annotations if isinstance(item, dict)]
    for number, item in enumerate(items):
        if isinstance(item.get("raster_layer"), dict):
            with left_out(collector, f"{path}: annotation {number}", image):
                layers.update(_layer(item["raster_layer"], image.height, image.width))
    for number, item in enumerate(items):
        if "raster_layer" in item:
            continue
        where = f"{path}: annotation {number}"
        with left_out(collector, where, image):
            slots = item.get("slot_names")
            if isinstance(slots, list) and slots and slot is not None and slot not in slots:
                raise NoObject("annotations of further slots")
            yield _part(collector, item, layers, image.height, image.width, where)


def _part(collector: Collector, item: dict, layers: dict[str, Rle], height: int, width: int, where: str) -> Part:
    if "frames" in item:
        raise Unusable("annotations of a video")
    name = class_of(item.get("name"))
    if "mask" in item:
        mask = layers.get(str(item.get("id")))
        if mask is None:
            raise Unusable("masks that no raster layer holds")
        return Part(name, mask, where)
    if "ellipse" in item:
        collector.note("ellipses are read as masks, drawn as polygons of many corners")
        polygons = [_ellipse(item["ellipse"], item.get("bounding_box"))]
    else:
        polygons = _paths(item)
    mask = even_odd_mask(polygons, height, width)
    return Part(name, mask, where, polygons=polygons if len(polygons) == 1 else None)


def _paths(item: dict) -> list[list[float]]:
    key = next((key for key in _POLYGONS if isinstance(item.get(key), dict)), None)
    if key is None:
        if "tag" in item:
            raise NoObject("tags")
        other = next((reason for key, reason in _OTHERS.items() if key in item), None)
        raise Unusable(other or ("boxes without a mask" if "bounding_box" in item else "annotations of an unknown type"))
    paths = list_of(item[key].get("paths") or item[key].get("path"))
    # A single path is a list of points, several are a list of lists.
    paths = [paths] if paths and isinstance(paths[0], dict) else paths
    paths = [*paths, *list_of(item[key].get("additional_paths"))]
    if not paths:
        raise Unusable("polygons without points")
    return [flat_points(path) for path in paths]


def _ellipse(item: Any, box: Any) -> list[float]:
    """An ellipse's outline. Whether its angle is in radians is nowhere written: the annotation's box tells, which holds it."""
    try:
        centre, radius = item["center"], item["radius"]
        x, y, radius_x, radius_y = (float(value) for value in (centre["x"], centre["y"], radius["x"], radius["y"]))
        angle = float(item.get("angle") or 0)
        width = float(box["w"]) if isinstance(box, dict) else None
    except (KeyError, TypeError, ValueError):
        raise Unusable("ellipses without centre and radius") from None

    def miss(degrees: float) -> float:
        turn = math.radians(degrees)
        own = 2 * math.hypot(radius_x * math.cos(turn), radius_y * math.sin(turn))
        return abs(own - width) if width is not None else float(abs(angle) > 2 * math.pi and degrees != angle)

    return ellipse_polygon(x, y, radius_x, radius_y, min((math.degrees(angle), angle), key=miss))


def _layer(layer: dict, height: int, width: int) -> dict[str, Rle]:
    """Masks by annotation id. Raises: Unusable when the runs do not fill the picture."""
    mapping = layer.get("mask_annotation_ids_mapping")
    try:
        pairs = np.array(layer["dense_rle"], np.int64).reshape(-1, 2)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise Unusable("raster layers without runs (value, count)") from None
    values, counts = pairs[:, 0], pairs[:, 1]
    if (counts < 0).any() or counts.max(initial=0) > height * width or counts.sum() != height * width:
        raise Unusable("raster layers that do not fill their picture")
    starts = np.cumsum(counts) - counts
    found = {}
    mapping = mapping if isinstance(mapping, dict) else {}
    for key, value in mapping.items():
        if not isinstance(value, int):
            continue
        own = (values == value) & (counts > 0)
        # Row by row, that is column by column of the picture turned over.
        found[key] = Rle.from_runs(starts[own], counts[own], width, height).transpose()
    return found
