"""MIT LabelMe's XML, of the web tool (not wkentaro's labelme): polygons, and masks as PNG files in a folder Masks.

Source: LabelMeAnnotationTool, and datumaro's reader. A scribbled mask is a PNG of the picture's size, set where it is opaque.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, Unusable, tracked
from ..drawn import polygon_mask
from ..index_maps import set_pixels
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import common_root
from ..parts import NoObject, Part, add_parts, class_of, flat_points, left_out
from ..pictures import Pictures
from ..safety import open_png, read_xml, safe_name


def looks_like(head: Head) -> bool:
    """An annotation whose objects have a polygon or segm; VOC's of the same root have boxes."""
    return head.xml is not None and _is_labelme(head.xml)


def _is_labelme(root: Element) -> bool:
    return root.tag == "annotation" and any(
        item.find(tag) is not None for item in root.iter("object") for tag in ("polygon", "segm")
    )


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read files; parts of an object that have its name are joined to it.

    Raises: UserError for a file of another content, or whose picture's size is told nowhere.
    """
    collector = Collector("labelme_xml", pictures)
    for path in tracked(paths, "LabelMe"):
        root = read_xml(path)
        if not _is_labelme(root):
            raise UserError(f"{path}: not of MIT LabelMe, no annotation whose objects have polygons or masks.")
        folder, file = (root.findtext(tag, "").strip() for tag in ("folder", "filename"))
        name = safe_name(f"{folder}/{file}".lstrip("/"), path)
        height, width = root.findtext("imagesize/nrows"), root.findtext("imagesize/ncols")
        rows, columns = (height.strip(), width.strip()) if height and width else pictures.size(name)
        image = collector.image(name, rows, columns, path)
        add_parts(collector, image, _parts(collector, root, image, path))
    collector.pass_over(lambda name: bool({"Masks", "Scribbles"} & set(name.split("/")[:-1])))
    return collector.result(common_root(paths))


def _parts(collector: Collector, root: Element, image: LabelledImage, path: str) -> Iterator[Part]:
    items = list(root.iter("object"))
    named = {item.findtext("id", str(number)).strip(): item for number, item in enumerate(items)}
    for number, item in enumerate(items):
        own = item.findtext("id", str(number)).strip()
        where = f"{path}: object {own}"
        with left_out(collector, where, image):
            if item.findtext("deleted", "0").strip() == "1":
                raise NoObject("deleted objects")
            name = class_of(item.findtext("name", "").strip())
            group = _whole(own, item, named)
            if (segment := item.find("segm")) is not None:
                yield Part(name, _mask(segment, image.height, image.width, path), where, group)
            elif item.findtext("type", "").strip() == "bounding_box":
                raise Unusable("boxes without a mask")
            else:
                polygon = flat_points([value for point in item.iterfind("polygon/pt") for value in _pair(point)])
                yield Part(name, polygon_mask([polygon], image.height, image.width), where, group, [polygon])


def _pair(point: Element) -> tuple[str | None, str | None]:
    return point.findtext("x"), point.findtext("y")


def _whole(own: str, item: Element, named: dict[str, Element]) -> str:
    """Id of the object that this is a part of and that has its name: a car's wheels stay objects, a half of a car does not."""
    seen = {own}
    while True:
        parent = item.findtext("parts/ispartof", "").strip()
        other = named.get(parent)
        if other is None or parent in seen or other.findtext("name", "").strip() != item.findtext("name", "").strip():
            return own
        seen.add(parent)
        own, item = parent, other


def _mask(segment: Element, height: int, width: int, path: str) -> Rle:
    name = safe_name(segment.findtext("mask", "").strip(), path)
    folder = os.path.dirname(os.path.abspath(path))
    places = [folder.replace(f"{os.sep}Annotations", f"{os.sep}Masks"), os.path.join(folder, "Masks"), folder]
    file = next((whole for place in places if os.path.isfile(whole := os.path.join(place, name))), None)
    if file is None:
        raise Unusable("masks whose PNG is missing")
    pixels = set_pixels(open_png(file))
    if pixels.shape != (height, width):
        raise Unusable("masks of another size than their picture")
    return Rle.from_bitmap(pixels)
