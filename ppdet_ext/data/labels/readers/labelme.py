"""labelme's JSON files (wkentaro's; X-AnyLabeling writes them too): one for each picture.

Source: labelme/utils/shape.py. Its `shape_to_mask` sets the outline's pixels too; here polygons are rasterised as in COCO.
"""

from __future__ import annotations

import base64
import binascii
import io
import math
import posixpath
from collections.abc import Iterator
from typing import Any

from PIL import Image

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, Unusable, tracked
from ..drawn import ellipse_polygon, polygon_mask, rectangle_polygon
from ..index_maps import placed_mask, set_pixels
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import common_root, files_below
from ..parts import NoObject, Part, add_parts, class_of, flat_points, group_of, kind_of, left_out, whole
from ..pictures import Pictures
from ..safety import MOST_PACKED, decode_base64, open_png, read_json, safe_name

# What labelme itself takes for no class.
_NO_CLASS = ("__ignore__", "_background_")
_LINES = {"line": "lines", "linestrip": "polylines", "point": "points", "points": "points"}
_POLYGONS = ("polygon", "rotation", "oriented_rectangle", "quadrilateral")
# So much of a picture's base64 has its size; a multiple of 4.
_HEAD = 1 << 18


def looks_like(head: Head) -> bool:
    """A JSON object with shapes and imagePath."""
    return {"shapes", "imagePath"} <= head.keys and isinstance(head.json["shapes"], list)


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read files; shapes of one label and group_id are one object.

    Raises: UserError for a file of another content, or whose picture's size is told nowhere.
    """
    collector = Collector("labelme", pictures)
    for path, label_file in tracked(files_below(paths, ".json"), "labelme"):
        content = read_json(path)
        if not looks_like(Head(path, json=content)):
            raise UserError(f"{path}: not of labelme, no object with shapes and imagePath.")
        name = _name(content["imagePath"], label_file)
        size = _size(content, name, path, pictures)
        image = collector.image(name, *size, where=path)
        add_parts(collector, image, _parts(collector, content["shapes"], image, path))
    return collector.result(common_root(paths), "labelme's lines and points have no mask.")


def _name(written: Any, label_file: str) -> str:
    """A picture's name relative to the common folder of the labels, which name it from their own ("../images/a.jpg").

    Of what leads out of that folder the last part stays, as of a path of the annotator's machine.
    """
    if not isinstance(written, str):
        return safe_name(written, label_file)
    folder, path = posixpath.dirname(label_file), written.replace("\\", "/")
    whole_name = posixpath.normpath(posixpath.join(folder, path))
    if whole_name.startswith(("..", "/")) or path[1:2] == ":":
        whole_name = posixpath.join(folder, posixpath.basename(path))
    return safe_name(whole_name, f"{label_file}: imagePath")


def _size(content: dict, name: str, path: str, pictures: Pictures) -> tuple[Any, Any]:
    height, width = content.get("imageHeight"), content.get("imageWidth")
    if height and width:
        return height, width
    if pictures.find(name) is None:
        size = _size_of_data(content.get("imageData"))
        if size is not None:
            return size
    try:
        return pictures.size(name)
    except UserError as fault:
        raise UserError(f"{path}: has no imageHeight and imageWidth, as files of early versions. {fault}") from None


def _size_of_data(data: Any) -> tuple[int, int] | None:
    """(height, width) of the picture inside of a file, from its beginning alone: all of it may be 100 MB."""
    if not isinstance(data, str):
        return None
    try:
        with Image.open(io.BytesIO(base64.b64decode(data[:_HEAD]))) as picture:
            return picture.height, picture.width
    except (OSError, SyntaxError, binascii.Error, ValueError):
        return None


def _parts(collector: Collector, shapes: list, image: LabelledImage, path: str) -> Iterator[Part]:
    for number, shape in enumerate(shapes):
        where = f"{path}: shape {number}"
        with left_out(collector, where, image):
            yield _part(collector, shape, (image.height, image.width), where)


def _part(collector: Collector, shape: Any, size: tuple[int, int], where: str) -> Part:
    if not isinstance(shape, dict):
        raise Unusable("shapes that are no objects")
    kind, group = kind_of(shape.get("shape_type") or "polygon"), shape.get("group_id")
    name = class_of(shape.get("label"))
    if name in _NO_CLASS:
        # "Ignore" hides something, the background does not.
        raise (Unusable if name == "__ignore__" else NoObject)(f"shapes named {name}")
    if kind in _LINES:
        raise Unusable(_LINES[kind])
    # 0 is a group of labelme's.
    group = 0 if group == 0 and group is not False else group_of(group)
    if kind == "mask":
        return Part(name, _stored_mask(shape, size, where), where, group)
    polygon = _outline(collector, kind, flat_points(shape.get("points")))
    return Part(name, polygon_mask([polygon], *size), where, group, [polygon])


def _outline(collector: Collector, kind: str, points: list[float]) -> list[float]:
    if kind in _POLYGONS:
        return points
    if kind == "rectangle" and len(points) >= 4:
        collector.note("rectangles are read as masks, of all their pixels")
        # labelme writes two corners, X-AnyLabeling all four.
        return rectangle_polygon(min(points[0::2]), min(points[1::2]), max(points[0::2]), max(points[1::2]))
    if kind == "circle" and len(points) == 4:
        collector.note("circles are read as masks, drawn as polygons of many corners")
        x, y, edge_x, edge_y = points
        radius = math.dist((x, y), (edge_x, edge_y))
        return ellipse_polygon(x, y, radius, radius)
    raise Unusable(f"shapes of the type {kind}")


def _stored_mask(shape: dict, size: tuple[int, int], where: str) -> Rle:
    """The mask of a base64 PNG between two corners, both of them inside."""
    points = flat_points(shape.get("points"))
    if len(points) != 4 or not shape.get("mask"):
        raise Unusable("masks without two corners or without pixels")
    x1, y1, x2, y2 = map(whole, points)
    bitmap = set_pixels(open_png(decode_base64(shape["mask"], MOST_PACKED, where), where, 4 * size[0] * size[1]))
    if bitmap.shape != (y2 - y1 + 1, x2 - x1 + 1):
        raise Unusable("masks of another size than their box")
    return placed_mask(bitmap, x1, y1, *size)
