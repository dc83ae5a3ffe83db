"""Segment Anything's JSON (SA-1B, and what its mask generator writes): a picture a file, run lengths, no classes."""

from __future__ import annotations

from typing import Any

from ppdet_ext.data.formats.coco_segmentation import segmentation_mask
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, Unusable, tracked
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..parts import left_out
from ..pictures import Pictures
from ..safety import read_json

CLASS_NAME = "object"


def looks_like(head: Head) -> bool:
    """Whether a JSON has one picture and a list of annotations."""
    return head.keys >= {"image", "annotations"} and isinstance(head.json["image"], dict) and _is_list(head.json["annotations"])


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Objects of all files, of the one class "object". Raises: UserError naming the file for what is no such JSON."""
    collector = Collector("segment_anything", pictures)
    collector.add_class(CLASS_NAME, "Segment Anything")
    collector.note(f"the files have no classes: each object is called {CLASS_NAME!r}")
    for path in tracked(paths, "Labels", "file"):
        _read_file(path, collector)
    return collector.result(", ".join(paths[:3]))


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def _read_file(path: str, collector: Collector) -> None:
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("image"), dict) or not _is_list(content.get("annotations")):
        raise UserError(f"{path}: needs an object image and a list annotations, as SA-1B's files have.")
    entry = content["image"]
    image = collector.image(entry.get("file_name"), entry.get("height"), entry.get("width"), f"{path}: image")
    for position, item in enumerate(content["annotations"]):
        where = f"{image.name}, annotation {item.get('id', position)}"
        try:
            mask = _mask_of(item, image)
        except Unusable as reason:
            collector.skip(reason, where, image)
            continue
        with left_out(collector, where):
            collector.add(image, CLASS_NAME, mask)


def _mask_of(item: dict, image: LabelledImage) -> Rle:
    """Raises: Unusable."""
    coded = item.get("segmentation")
    if not isinstance(coded, dict):
        raise Unusable("annotations without run lengths")
    try:
        mask = Rle.from_coco(coded)
        # Of an object without a pixel the size is sometimes that of another picture.
        return segmentation_mask(coded, image.height, image.width) if mask else Rle.empty(image.height, image.width)
    except UserError:
        raise Unusable("masks that are no run lengths of their picture's size") from None
