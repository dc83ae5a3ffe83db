"""CVAT for images 1.1: an XML of pictures with masks, run lengths row by row in a box of their own, and polygons.

Source: https://docs.cvat.ai/docs/manual/advanced/formats/format-cvat/; the masks' order as in cvat-ai/cvat issues 4723, 8124.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from xml.etree.ElementTree import Element

import numpy as np

from ppdet_ext.data.formats.numbering import Evidence, is_asked
from ppdet_ext.data.formats.rle_csv import RleCsv
from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Rle

from ..collector import Collector, Unusable, subset_name, tracked
from ..drawn import polygon_mask
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..parts import NoObject, Part, add_parts, left_out
from ..pictures import Pictures
from ..safety import read_xml

# Shapes without a mask, as they are counted.
_NO_MASK = {
    "polyline": "polylines",
    "points": "points",
    "ellipse": "ellipses",
    "cuboid": "cuboids",
    "skeleton": "skeletons",
    "tag": "tags",
}
_RUNS = re.compile(r"\s*[0-9]{1,10}(\s*,\s*[0-9]{1,10})*\s*", re.ASCII)

# Pixels of a box from which its rows are not decoded at once, which is faster.
_LARGE = 1 << 22

_Shape = tuple[Rle, list[list[float]] | None]


def looks_like(head: Head) -> bool:
    """Whether an XML is CVAT's: `annotations` with pictures or tracks."""
    root = head.xml
    return root is not None and root.tag == "annotations" and any(child.tag in ("image", "track", "meta") for child in root)


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Masks and polygons of one or more files, lowest z_order first; what overlaps keeps its pixels.

    Shapes of one label and group_id are one object. Raises: UserError naming the file for one of a video, or of no pictures.
    """
    collector = Collector("cvat", pictures)
    for path in paths:
        _File(path, read_xml(path), collector).read()
    return collector.result(", ".join(paths), "Draw masks or polygons; boxes and points have no pixels to learn from.")


class _File:
    """One XML on its way into the collector."""

    def __init__(self, path: str, root: Element, collector: Collector) -> None:
        if root.tag != "annotations":
            raise UserError(f"{path}: the root element is {root.tag}, CVAT's is annotations.")
        if root.find("track") is not None:
            raise UserError(
                f"{path}: has tracks of a video (CVAT for video). Export the task as 'CVAT for images 1.1', which has a "
                "picture for each frame."
            )
        self.path, self.root, self.collector = path, root, collector
        self.names = [label.findtext("name") or "" for label in root.iterfind("meta//labels/label")]
        for name in filter(None, self.names):
            collector.add_class(name, f"{path}: meta")
        self.undefined: Counter[str] = Counter()
        self.layered = self.grouped = self.masks = 0
        self.evidence = Evidence(RleCsv({"name": "{name}", "rle": "{rle}"}))

    def read(self) -> None:
        entries = self.root.findall("image")
        tasks: dict[tuple[str | None, str], str | None] = {}
        for position, entry in enumerate(tracked(entries, "Labels")):
            where = f"{self.path}: image {entry.get('id', position)}"
            name, subset = entry.get("name") or "", subset_name(entry.get("subset"))
            if tasks.setdefault((subset, name), entry.get("task_id")) != entry.get("task_id"):
                raise UserError(f"{where}: two tasks have a picture {name}. Export the tasks one by one, and import each.")
            image = self.collector.image(name, entry.get("height"), entry.get("width"), where, subset)
            self._objects(entry, image)
        self._demand_rows()
        for label, number in self.undefined.items():
            if number:
                self.collector.warn(
                    f"{self.path}: {label!r} ({counted(number, 'shapes')}) is not among the labels that it defines (meta): "
                    f"read as a class of its own. If it is another's former name: --rename '{label}=NAME'"
                )
        if self.layered:
            self.collector.note(
                f"z_order: {counted(self.layered, 'pictures')} with several layers; objects keep the pixels that others cover"
            )
        if self.grouped:
            self.collector.note(f"group_id: {counted(self.grouped, 'shapes')} joined to an object of their group and label")

    def _objects(self, entry: Element, image: LabelledImage) -> None:
        """Append the objects of a picture, those of the lowest layer first."""
        layered: list[tuple[int, Part]] = []
        for position, shape in enumerate(entry):
            where = f"{image.name}, {shape.tag} {position}"
            with left_out(self.collector, where, image):
                mask, polygons = self._shape(shape, image)
                group = shape.get("group_id") or "0"
                part = Part(shape.get("label") or "", mask, where, None if group == "0" else group, polygons)
                layered.append((_layer(shape), part))
                self.undefined[part.class_name] += bool(self.names) and part.class_name not in self.names
        parts = [part for _, part in sorted(layered, key=lambda pair: pair[0])]
        add_parts(self.collector, image, parts)
        self.layered += len({layer for layer, _ in layered}) > 1
        groups = [(part.class_name, part.group) for part in parts if part.group is not None]
        self.grouped += len(groups) - len(set(groups))

    def _shape(self, shape: Element, image: LabelledImage) -> _Shape:
        """(mask, polygons as drawn where it is one). Raises: Unusable."""
        if shape.tag in _NO_MASK:
            raise (NoObject if shape.tag == "tag" else Unusable)(_NO_MASK[shape.tag])
        if shape.tag == "box":
            raise Unusable("rotated boxes without a mask" if _number(shape.get("rotation")) else "boxes without a mask")
        if shape.tag not in ("mask", "polygon"):
            raise Unusable(f"elements {shape.tag[:30]!r} that are not known")
        label = shape.get("label")
        if not label:
            raise Unusable(f"{shape.tag}s without a label")
        if shape.tag == "mask":
            mask = box_mask(shape.attrib, image.height, image.width)
            self._ask(shape.attrib)
            return mask, None
        polygon = _points(shape.get("points") or "")
        return polygon_mask([polygon], image.height, image.width), [polygon]

    def _ask(self, attributes: Mapping[str, str]) -> None:
        """Note what a mask's runs say of their order: row by row is column by column of the box on its side."""
        self.masks += 1
        if is_asked(self.masks):
            size = [int(float(attributes[key])) for key in ("width", "height")]
            counts = [int(run) for run in attributes["rle"].split(",")]
            self.evidence.add_mask(Rle.from_coco({"size": size, "counts": counts}))

    def _demand_rows(self) -> None:
        """Raises: UserError where the masks were encoded column by column, as COCO's: read by rows they fall into stripes."""
        if self.evidence.told_order == "rows":
            votes = self.evidence.votes
            told = counted(sum(votes.values()), "masks")
            raise UserError(
                f"{self.path}: the masks' run lengths look column-major, as COCO's, where CVAT's go along the rows of each "
                f"mask's box: {votes['rows']} of {told} that can tell fall into stripes. What wrote the file must encode the "
                "box's pixels row by row (numpy: mask.ravel())."
            )


def box_mask(attributes: Mapping[str, str], height: int, width: int) -> Rle:
    """The mask of CVAT's attributes rle, left, top, width, height: runs row by row in that box, background first.

    What lies outside of the picture is cut off. Raises: Unusable for runs that do not fill the box, or a box that is none.
    """
    try:
        left, top, columns, rows = (int(float(attributes[key])) for key in ("left", "top", "width", "height"))
    except (KeyError, ValueError, OverflowError):
        raise Unusable("masks without left, top, width and height") from None
    if not _RUNS.fullmatch(text := attributes.get("rle", "")):
        raise Unusable("masks whose rle is no list of run lengths")
    # The box of a corrupt file can have any size, and every pixel of it is decoded.
    if not (0 < columns <= width and 0 < rows <= height):
        raise Unusable("masks whose box is not in their picture")
    runs = np.array(text.split(","), np.int64)
    if int(runs.sum()) != columns * rows:
        raise Unusable("masks whose run lengths do not sum to width x height of their box")
    x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + columns, width), min(top + rows, height)
    if x1 >= x2 or y1 >= y2:
        raise Unusable("masks whose box is not in their picture")
    if columns * rows > _LARGE:
        box = Rle.from_coco({"size": [columns, rows], "counts": runs.tolist()}).transpose()
        return box.crop(y1 - top, x1 - left, y2 - top, x2 - left).place(y1, x1, height, width)
    pixels = np.repeat(np.arange(runs.size) % 2 == 1, runs).reshape(rows, columns)
    return Rle.from_window(pixels[y1 - top : y2 - top, x1 - left : x2 - left], y1, x1, height, width)


def _points(text: str) -> list[float]:
    """Flat points of "x,y;x,y;…". Raises: Unusable."""
    try:
        points = [[float(value) for value in point.split(",")] for point in text.split(";") if point.strip()]
    except ValueError:
        raise Unusable("polygons with coordinates that are no numbers") from None
    if any(len(point) != 2 for point in points):
        raise Unusable("polygons with an odd number of coordinates")
    return [value for point in points for value in point]


def _number(text: str | None) -> float:
    try:
        return float(text or 0)
    except ValueError:
        return 0.0


def _layer(shape: Element) -> int:
    number = _number(shape.get("z_order"))
    return int(number) if abs(number) < 1 << 31 else 0
