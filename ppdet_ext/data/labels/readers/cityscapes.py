"""Cityscapes' instance PNGs, `*_instanceIds.png` of 16 bits: class · 1000 + number, or the class alone.

Source: cityscapesScripts, helpers/labels.py and preparation/json2instanceImg.py: a class alone is stuff, or a group of objects
whose borders cannot be told. CVAT and datumaro write the same with classes of the user's, in label_colors.txt.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Iterator

import numpy as np

from ppdet_ext.errors import UserError

from ..collector import Collector, tracked
from ..index_maps import fits_picture, regions_of
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import files_below
from ..parts import Part, add_parts
from ..pictures import Pictures
from ..safety import open_png, read_text

_SUFFIX = "_instanceids.png"
_STEM = re.compile(r"(?:_gtFine|_gtCoarse)?_instanceIds\.png$", re.I)
_SUBSETS = {"train": "train", "train_extra": "train", "val": "val", "test": "test"}
# By id. The first seven are void, as are those named with a star: not evaluated, and no class here.
_CLASSES = (
    *("*unlabeled", "*ego vehicle", "*rectification border", "*out of roi", "*static", "*dynamic", "*ground"),
    *("road", "sidewalk", "parking", "rail track", "building", "wall", "fence", "guard rail", "bridge", "tunnel", "pole"),
    *("polegroup", "traffic light", "traffic sign", "vegetation", "terrain", "sky", "person", "rider", "car", "truck", "bus"),
    *("caravan", "trailer", "train", "motorcycle", "bicycle"),
)
_FIRST_THING = 24
_NO_CLASS = ("unlabeled", "background", "egovehicle", "rectificationborder", "outofroi", "static", "dynamic", "ground")


def looks_like(head: Head) -> bool:
    """A folder with files *_instanceIds.png."""
    return any(name.lower().endswith(_SUFFIX) for name in head.names)


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read all instance PNGs at or below the paths; the regions of stuff are an object for each class and picture.

    Raises: UserError where there are none, or they have colours.
    """
    collector = Collector("cityscapes", pictures)
    files = files_below(paths, _SUFFIX)
    if not files:
        raise UserError(f"{', '.join(paths)}: no file *_instanceIds.png. Name the folder gtFine, or the one that holds it.")
    names, first_thing = _names(paths)
    for path, name in tracked(files, "Instance PNGs"):
        ids = open_png(path)
        if ids.ndim != 2:
            raise UserError(f"{path}: has colours, not the numbers of Cityscapes' instanceIds.")
        subset = next((_SUBSETS[part] for part in name.split("/")[:-1] if part in _SUBSETS), None)
        picture_name, file = _picture(name, subset, pictures)
        if fits_picture(ids.shape, file):
            height, width = ids.shape
            image = collector.image(picture_name, height, width, path, subset)
            add_parts(collector, image, _parts(collector, image, ids, names, first_thing, path))
        else:
            collector.skip("masks of another size than their picture", path)
    collector.pass_over(lambda name: re.search("_gt(Fine|Coarse)_", name, re.I) is not None)
    # In the order of the ids, whatever the pictures begin with.
    collector.class_names = {name: None for name in names.values() if name in collector.class_names}
    return collector.result(", ".join(paths))


def _parts(
    collector: Collector, image: LabelledImage, ids: np.ndarray, names: dict[int, str], first_thing: int, where: str
) -> Iterator[Part]:
    # 0 is a class here, a void one in Cityscapes.
    for value, mask in regions_of(np.where(ids == 0, -1, ids)):
        number, alone = (max(value, 0), True) if value < 1000 else (value // 1000, False)
        if names.get(number) == "":
            collector.skip("regions of no class (void)", where)
        elif number not in names:
            collector.skip("regions of an unknown class", f"{where}, value {value}", image)
        else:
            if alone and number >= first_thing:
                collector.note("groups of things (a class without a number) are crowds: not learnt, not counted as wrong")
            elif alone:
                collector.note("stuff (road, sky …) is one object for each class and picture")
            yield Part(names[number], mask, where, crowd=alone and number >= first_thing)


def _names(paths: list[str]) -> tuple[dict[int, str], int]:
    """Class name by id, "" for void ones, and the first id of a thing."""
    for path in paths:
        for place, _, files in os.walk(path):
            if "label_colors.txt" in files:
                return dict(enumerate(_own_classes(os.path.join(place, "label_colors.txt")))), 0
    return {number: "" if name.startswith("*") else name for number, name in enumerate(_CLASSES)}, _FIRST_THING


def _own_classes(path: str) -> list[str]:
    lines = [line.split(None, 3) for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    if any(len(line) < 4 for line in lines):
        raise UserError(f"{path}: a line is not 'red green blue name'.")
    names = [line[3].strip() for line in lines]
    return ["" if name.lower().replace(" ", "") in _NO_CLASS else name for name in names]


def _picture(name: str, subset: str | None, pictures: Pictures) -> tuple[str, str | None]:
    """Name and path of the picture of an instance PNG: leftImg8bit/train/a/b_leftImg8bit.png, or b with any suffix."""
    stem = _STEM.sub("", name)
    usual = re.sub("(^|/)gt(Fine|Coarse)/", r"\1leftImg8bit/", stem) + "_leftImg8bit.png"
    file = pictures.find(usual, subset)
    if file is None and (own := pictures.find(posixpath.basename(stem), subset)):
        return stem + os.path.splitext(own)[1], own
    return usual, file
