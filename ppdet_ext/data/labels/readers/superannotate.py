"""SuperAnnotate's JSON: vector projects (polygons), and pixel projects whose masks lie in `<picture>___save.png`.

Source: superannotate-python-sdk, input_converters. In a save.png each *part* of an instance has a colour of its own; the JSON
names the colours of an instance.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import Any

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, Unusable, tracked
from ..drawn import ellipse_polygon, polygon_mask
from ..index_maps import colour_ids, fits_picture, regions_of
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import common_root
from ..parts import NoObject, Part, add_parts, class_of, flat_points, group_of, kind_of, left_out, list_of
from ..pictures import Pictures
from ..safety import open_png, read_json, safe_name

_OTHERS = {
    "bbox": "boxes without a mask", "rbbox": "boxes without a mask", "polyline": "polylines", "point": "points",
    "template": "skeletons", "cuboid": "cuboids", "comment": "comments", "tag": "tags",
}  # fmt: skip
_SUFFIX = re.compile(r"(___(objects|pixel))?\.json$")


def looks_like(head: Head) -> bool:
    """An object with metadata (of a picture's name) and instances."""
    return {"metadata", "instances"} <= head.keys and isinstance(head.json["metadata"], dict)


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read files; instances of one class and one groupId but 0 are one object.

    Raises: UserError for a file of another content, or a picture's size that is told nowhere.
    """
    collector = Collector("superannotate", pictures)
    classes = _class_ids(paths)
    for path in tracked(paths, "SuperAnnotate"):
        content = read_json(path)
        if not looks_like(Head(path, json=content)) or not isinstance(content["instances"], list):
            raise UserError(f"{path}: not of SuperAnnotate, no object with metadata and instances.")
        metadata, instances = content["metadata"], content["instances"]
        name = safe_name(metadata.get("name") or _SUFFIX.sub("", os.path.basename(path)), path)
        regions = None
        height, width = metadata.get("height"), metadata.get("width")
        if any(isinstance(item, dict) and "parts" in item for item in instances):
            file = _SUFFIX.sub("___save.png", path)
            if not os.path.isfile(file):
                collector.skip("pictures whose save.png is missing", f"{path} ({os.path.basename(file)})")
                continue
            ids = colour_ids(open_png(file))
            if not fits_picture(ids.shape, pictures.find(name)) or (height and (height, width) != ids.shape):
                collector.skip("masks of another size than their picture", file)
                continue
            (height, width), regions = ids.shape, dict(regions_of(ids))
        elif not height or not width:
            height, width = pictures.size(name)
        image = collector.image(name, height, width, path)
        add_parts(collector, image, _parts(collector, instances, regions, classes, image, path))
    collector.pass_over(lambda name: name.endswith(("___save.png", "___fuse.png")))
    return collector.result(common_root(paths), "Masks of pixel projects lie in ___save.png: export them, too.")


def _class_ids(paths: list[str]) -> dict[str, str]:
    """Names by id of classes/classes.json beside the files."""
    found: dict[str, str] = {}
    for folder in sorted({os.path.dirname(path) for path in paths}):
        for place in (folder, os.path.dirname(folder)):
            file = os.path.join(place, "classes", "classes.json")
            content = read_json(file) if os.path.isfile(file) else []
            for item in content if isinstance(content, list) else []:
                if isinstance(item, dict) and isinstance(item.get("name"), str) and isinstance(item.get("id"), int):
                    found.setdefault(str(item["id"]), item["name"])
    return found


def _parts(
    collector: Collector, instances: list, regions: dict[int, Rle] | None, classes: dict[str, str],
    image: LabelledImage, path: str,
) -> Iterator[Part]:  # fmt: skip
    unknown: set[str] = set()
    for number, item in enumerate(instances):
        where = f"{path}: instance {number}"
        with left_out(collector, where, image):
            if not isinstance(item, dict):
                raise Unusable("instances that are no objects")
            kind = kind_of(item.get("type"))
            if kind in _OTHERS:
                raise (NoObject if kind in ("tag", "comment") else Unusable)(_OTHERS[kind])
            name = class_of(item.get("className") or classes.get(str(item.get("classId"))))
            if classes and name not in classes.values():
                unknown.add(name)
            group = group_of(item.get("groupId"))
            if regions is not None and "parts" in item:
                yield Part(name, _coloured(item["parts"], regions), where, group, score=_score(item))
            else:
                polygons, mask = _drawn(collector, item, image.height, image.width)
                yield Part(name, mask, where, group, polygons, score=_score(item))
    if unknown:
        collector.note(f"classes that classes.json does not have: {', '.join(sorted(unknown))}")


def _score(item: dict) -> float | None:
    """`probability` in percent; people's own have 100, which is no score."""
    value = item.get("probability")
    return value / 100 if isinstance(value, int | float) and 0 <= value < 100 else None


def _coloured(parts: Any, regions: dict[int, Rle]) -> Rle:
    """The union of the regions of an instance's colours."""
    masks = []
    for part in parts if isinstance(parts, list) else ():
        colour = part.get("color") if isinstance(part, dict) else None
        if not isinstance(colour, str) or not re.fullmatch("#[0-9a-fA-F]{6}", colour):
            raise Unusable("parts without a colour")
        if (value := int(colour[1:], 16)) in regions:
            masks.append(regions[value])
    if not masks:
        raise Unusable("instances whose colours the save.png does not have")
    return Rle.merge(masks)


def _drawn(collector: Collector, item: dict, height: int, width: int) -> tuple[list[list[float]] | None, Rle]:
    kind = kind_of(item.get("type"))
    if kind == "ellipse":
        try:
            values = [float(item[key]) for key in ("cx", "cy", "rx", "ry")]
            points = ellipse_polygon(values[0], values[1], values[2], values[3], float(item.get("angle") or 0))
        except (KeyError, TypeError, ValueError):
            raise Unusable("ellipses without centre and radii") from None
        collector.note("ellipses are read as masks, drawn as polygons of many corners")
    elif kind == "polygon":
        points = flat_points(item.get("points"))
    else:
        raise Unusable(f"instances of the type {kind}")
    holes = [flat_points(hole) for hole in list_of(item.get("exclude"))]
    return None if holes else [points], polygon_mask([points], height, width, holes)
