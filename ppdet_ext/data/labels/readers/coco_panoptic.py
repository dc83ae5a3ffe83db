"""COCO's panoptic JSON: the segments of a picture are the colours of a PNG, id = red + 256 green + 65536 blue."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from ppdet_ext.data.formats.coco_annotations import checked_categories
from ppdet_ext.errors import UserError

from ..collector import Collector, Spoiling, Unusable, subset_of_path, tracked
from ..index_maps import regions_of
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..pictures import Pictures
from ..safety import open_png, read_json, safe_name
from .coco import id_of

_SECTIONS = ("images", "annotations", "categories")


def looks_like(head: Head) -> bool:
    """Whether a JSON has annotations with segments_info."""
    if not head.keys.issuperset(_SECTIONS) or not isinstance(head.json["annotations"], list):
        return False
    first = next(iter(head.json["annotations"]), None)
    return isinstance(first, dict) and "segments_info" in first


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Segments of one or more files, of things and of what is none (isthing 0), each one object.

    The PNGs are looked for in the folder named as the JSON, and beside it. Raises: UserError naming the file and entry for a
    JSON of another shape, a PNG that is missing, damaged, lossy, or of another size.
    """
    collector = Collector("coco_panoptic", pictures)
    for path in paths:
        _File(path, read_json(path), collector).read()
    return collector.result(", ".join(paths))


class _File:
    """One JSON and its PNGs on their way into the collector."""

    def __init__(self, path: str, content: Any, collector: Collector) -> None:
        if not isinstance(content, dict) or not all(_objects(content.get(key)) for key in _SECTIONS):
            raise UserError(f"{path}: needs the lists {', '.join(_SECTIONS)} of objects, as COCO's panoptic files have.")
        self.path, self.content, self.collector = path, content, collector
        self.names = dict(checked_categories(path, content["categories"]))
        for name in self.names.values():
            collector.add_class(name, f"{path}: categories")
        self.stuff = {self.names[int(entry["id"])] for entry in content["categories"] if entry.get("isthing") == 0}

    def read(self) -> None:
        images = self._images()
        for position, item in enumerate(tracked(self.content["annotations"], "Labels")):
            where = f"{self.path}: annotation {position}"
            image = images.get(id_of(item.get("image_id")))
            if image is None:
                raise UserError(f"{where}: image_id {item.get('image_id')!r} is not listed in images.")
            if not _objects(item.get("segments_info")):
                raise UserError(f"{where} ({image.name}): segments_info is no list of objects.")
            self._segments(item, image, where)
        if self.stuff:
            shown = ", ".join(sorted(self.stuff)[:5])
            self.collector.note(f"classes of no things (isthing 0: {shown}): all pixels of a segment are one object")

    def _images(self) -> dict[Any, LabelledImage]:
        subset, found = subset_of_path(self.path), {}
        for position, entry in enumerate(self.content["images"]):
            where = f"{self.path}: image {position}"
            if id_of(entry.get("id")) in found:
                raise UserError(f"{where}: the id {entry['id']} is used twice.")
            found[id_of(entry.get("id"))] = self.collector.image(
                entry.get("file_name"), entry.get("height"), entry.get("width"), where, subset
            )
        return found

    def _segments(self, item: dict, image: LabelledImage, where: str) -> None:
        file = self._png(safe_name(item.get("file_name"), where), where)
        ids = self._ids(file, image)
        masks = dict(regions_of(ids))
        for segment in item["segments_info"]:
            number, name = id_of(segment.get("id")), self.names.get(id_of(segment.get("category_id")))
            try:
                if name is None:
                    raise Spoiling("segments of an unknown category")
                if number not in masks:
                    raise Unusable("segments whose id is not in the PNG")
                self.collector.add(image, name, masks.pop(number), crowd=id_of(segment.get("iscrowd")) == 1)
            except Unusable as reason:
                self.collector.skip(reason, f"{image.name}, segment {number}", image)
        for number in masks:
            self.collector.skip("regions of the PNG without a segment", f"{image.name}, id {number}")

    def _ids(self, file: str, image: LabelledImage) -> np.ndarray:
        """The PNG's ids, (h, w) of the picture. Raises: UserError for a PNG that was resized."""
        ids = _numbers(open_png(file, limit=image.height * image.width))
        height, width = ids.shape
        if ids.shape == (image.height, image.width):
            return ids
        if (height == image.height) == (width == image.width) or height > image.height or width > image.width:
            raise UserError(
                f"{file}: is {height}x{width}, its picture {image.height}x{image.width} (height x width). Resized masks have "
                "false ids."
            )
        self.collector.note(
            f"{file}: covers {height}x{width} of {image.height}x{image.width} (height x width): the rest is empty"
        )
        return np.pad(ids, ((0, image.height - height), (0, image.width - width)))

    def _png(self, name: str, where: str) -> str:
        folder, file = os.path.split(self.path)
        places = [os.path.join(folder, os.path.splitext(file)[0]), folder, *filter(None, [self.collector.pictures.folder])]
        for place in places:
            if os.path.isfile(path := os.path.join(place, *name.split("/"))):
                return path
        raise UserError(f"{where}: the PNG {name} is not there. It is looked for in {', '.join(places)}.")


def _numbers(pixels: np.ndarray) -> np.ndarray:
    """(h, w, 3 or 4) uint8, or grey (h, w) -> (h, w) int64; transparency is passed over."""
    if pixels.ndim == 2:
        return pixels.astype(np.int64)
    return pixels[..., :3].astype(np.int64) @ np.array([1, 256, 65536])


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)
