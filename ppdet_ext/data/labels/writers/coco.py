"""COCO JSON: masks as compressed run lengths, which every tool of COCO reads and no pixel is lost in."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..collector import tracked
from ..label_set import LabelledImage, LabelledObject, LabelSet
from .common import DEFAULTS, WriteOptions, Written

NAME = "instances"


def write(labels: LabelSet, out: Path, options: WriteOptions = DEFAULTS) -> Written:
    """Write `instances.json`, or `instances_<subset>.json` of each subset; `score` stands with what has one.

    Raises: UserError where it cannot be written.
    """
    done, ids = Written(options), options.ids_of(labels)
    subsets: dict[str | None, list[LabelledImage]] = {}
    for image in tracked(labels.images, "COCO"):
        subsets.setdefault(image.subset, []).append(image)
    for subset, images in (subsets or {None: []}).items():
        empty = sum(not own.mask for image in images for own in image.objects)
        done.lost["empty masks"] += empty
        done.objects += sum(len(image.objects) for image in images) - empty
        path = out / (f"{NAME}.json" if subset is None else f"{NAME}_{_file_part(subset)}.json")
        done.json(path, coco_tree(images, labels.class_names, ids))
    return done


def coco_tree(
    images: Sequence[LabelledImage], class_names: Sequence[str], class_ids: Sequence[int], description: str = ""
) -> dict[str, Any]:
    """What a COCO file of these images holds, ready for JSON; objects of an empty mask are left out.

    Args:
        class_ids: of each class.
        description: of what the file was made; "" leaves it out.
    """
    ids = dict(zip(class_names, class_ids))
    heads: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, image in enumerate(images, 1):
        heads.append({"id": number, "file_name": image.name, "height": image.height, "width": image.width})
        for own in image.objects:
            if own.mask:
                entry = {"id": len(annotations) + 1, "image_id": number, "category_id": ids[own.class_name]}
                annotations.append(entry | _described(own))
    categories = [{"id": ids[name], "name": name, "supercategory": ""} for name in class_names]
    info = {"info": {"description": description}} if description else {}
    return info | {"images": heads, "annotations": annotations, "categories": categories}


def _described(own: LabelledObject) -> dict[str, Any]:
    x1, y1, x2, y2 = own.box or own.mask.box
    entry = {
        "bbox": [x1, y1, x2 - x1, y2 - y1],
        "area": own.mask.area,
        "iscrowd": int(own.crowd),
        "segmentation": own.mask.to_coco(text=True),
    }
    return entry if own.score is None else entry | {"score": own.score}


def _file_part(subset: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in subset)
