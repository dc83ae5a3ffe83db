"""Pascal VOC's mask PNGs: a folder SegmentationClass, and SegmentationObject beside it.

labelme2voc.py writes them with a palette and class_names.txt, CVAT ("Segmentation mask 1.1") in colours with labelmap.txt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, tracked
from ..index_maps import colour_ids, fits_picture, regions_of
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..parts import Part, add_parts
from ..pictures import Pictures
from ..safety import open_png

_CLASSES = ("segmentationclass", "segmentationclasspng")
_OBJECTS = ("segmentationobject", "segmentationobjectpng")
_NAME_FILES = ("labelmap.txt", "class_names.txt", "classes.txt", "labels.txt")
_NO_CLASS = ("_background_", "background", "__ignore__", "__background__")
# "Do not care": index 255, whose colour in VOC's palette is this one.
_VOID, _VOID_COLOUR = 255, (224 << 16) | (224 << 8) | 192
_VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


def looks_like(head: Head) -> bool:
    """A folder with pictures in a folder SegmentationClass, or this folder itself."""
    own = [os.path.basename(os.path.normpath(head.path)), *{part for name in head.names for part in name.split("/")[:-1]}]
    return bool(head.names) and any(part.lower() in _CLASSES for part in own)


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read all folders SegmentationClass; without SegmentationObject each connected region of a class is an object.

    Raises: UserError where masks are no PNG: lossy files have false numbers.
    """
    collector = Collector("voc_masks", pictures)
    folders = [place for path in paths for place in _class_folders(path)]
    if not folders:
        raise UserError(f"{', '.join(paths)}: no folder named SegmentationClass. Name the folder that holds it.")
    for folder in folders:
        root = os.path.dirname(os.path.abspath(folder))
        objects = next((os.path.join(root, name) for name in sorted(os.listdir(root)) if name.lower() in _OBJECTS), None)
        if objects is None:
            collector.note("no folder SegmentationObject: each connected region of a class is read as an object")
        reader = _Folder(collector, folder, objects, _Names(root, collector), dict(_subsets(root)))
        for file in tracked(_masks_of(folder), "Mask PNGs"):
            reader.add(file)
    return collector.result(", ".join(paths))


def _class_folders(path: str) -> list[str]:
    return [place for place, _, _ in sorted(os.walk(path)) if os.path.basename(os.path.abspath(place)).lower() in _CLASSES]


def _masks_of(folder: str) -> list[str]:
    files = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    lossy = [name for name in files if name.lower().endswith((".jpg", ".jpeg", ".webp"))]
    if lossy:
        raise UserError(
            f"{os.path.join(folder, lossy[0])}: JPEG changes the numbers of a mask ({len(lossy)} of {len(files)} files). "
            "Export the masks as PNG."
        )
    return [name for name in files if name.lower().endswith(".png")]


def _subsets(root: str) -> Iterator[tuple[str, str]]:
    """(image, its subset) of ImageSets/Segmentation/*.txt; 'trainval' tells no subset."""
    folder = os.path.join(root, "ImageSets", "Segmentation")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if name.endswith(".txt") and name != "trainval.txt":
            with open(os.path.join(folder, name), encoding="utf-8-sig") as file:
                yield from ((line.strip(), name.removesuffix(".txt")) for line in file if line.strip())


class _Folder:
    """The PNGs of one SegmentationClass; `objects` is the folder SegmentationObject beside it, or None."""

    def __init__(self, collector: Collector, folder: str, objects: str | None, names: _Names, subsets: dict[str, str]) -> None:
        self.collector, self.folder, self.objects, self.names, self.subsets = collector, folder, objects, names, subsets

    def add(self, file: str) -> None:
        stem, path = os.path.splitext(file)[0], os.path.join(self.folder, file)
        subset = self.subsets.get(stem)
        picture = self._picture(stem, subset)
        classes = open_png(path)
        if not fits_picture(classes.shape[:2], picture):
            self.collector.skip("mask PNGs of another size than their picture", path)
            return
        ids, class_of = self._without_void(classes, path), self.names.of(classes)
        numbers = None
        if self.objects is not None:
            object_path = os.path.join(self.objects, file)
            if not os.path.isfile(object_path):
                self.collector.skip("class PNGs without an object PNG", path)
                return
            numbers = open_png(object_path)
            if numbers.shape[:2] != ids.shape:
                self.collector.skip("object PNGs of another size than the class PNG", object_path)
                return
        suffix = os.path.splitext(picture)[1] if picture else ".jpg"
        height, width = ids.shape
        image = self.collector.image(stem + suffix, height, width, path, subset)
        if numbers is None:
            parts = self._regions(image, ids, class_of, path)
        else:
            parts = self._objects(image, ids, numbers, class_of, path)
        add_parts(self.collector, image, parts)

    def _picture(self, stem: str, subset: str | None) -> str | None:
        """The picture, not the mask of the same name."""
        pictures = self.collector.pictures
        named = (pictures.find(f"{folder}/{stem}", subset) for folder in ("JPEGImages", "images"))
        found = next(filter(None, named), None) or pictures.find(f"{stem}.jpg", subset) or pictures.find(stem, subset)
        masks = {os.path.abspath(folder) for folder in (self.folder, self.objects) if folder}
        return None if found and os.path.dirname(os.path.abspath(found)) in masks else found

    def _without_void(self, pixels: np.ndarray, where: str) -> np.ndarray:
        ids = colour_ids(pixels)
        void = ids == (_VOID if pixels.ndim == 2 else _VOID_COLOUR)
        if void.any():
            self.collector.skip("ignored regions (index 255)", where)
        return np.where(void, 0, ids)

    def _regions(self, image: LabelledImage, ids: np.ndarray, class_of: dict[int, str], where: str) -> Iterator[Part]:
        for value, mask in regions_of(ids):
            if value in class_of:
                yield from (Part(class_of[value], part, where) for part in mask.components())
            else:
                self.collector.skip("regions of a class without a name", f"{where}, {_shown(value)}", image)

    def _objects(
        self, image: LabelledImage, ids: np.ndarray, pixels: np.ndarray, class_of: dict[int, str], where: str
    ) -> Iterator[Part]:
        numbers = colour_ids(pixels)
        numbers[numbers == (_VOID if pixels.ndim == 2 else _VOID_COLOUR)] = 0
        if ((ids != 0) & (numbers == 0)).any():
            self.collector.skip("regions of a class without an object", where, image)
        for number, mask in regions_of(numbers):
            value = _majority(ids, mask)
            if value in class_of:
                yield Part(class_of[value], mask, f"{where}, object {_shown(number)}")
            else:
                reason = "regions of a class without a name" if value else "objects without a class"
                self.collector.skip(reason, f"{where}, object {_shown(number)}", image)


def _majority(ids: np.ndarray, mask: Rle) -> int:
    """The value that most pixels of an object have."""
    x1, y1, x2, y2 = map(int, mask.box)
    inside = ids[y1:y2, x1:x2][mask.crop(y1, x1, y2, x2).to_bitmap() != 0]
    values, counts = np.unique(inside, return_counts=True)
    return int(values[counts.argmax()])


def _shown(value: int) -> str:
    return str(value) if value <= _VOID else f"colour {value >> 16},{value >> 8 & 255},{value & 255}"


class _Names:
    """Class names by the value of a mask's pixels, from a text file in the folder."""

    def __init__(self, root: str, collector: Collector):
        self.root, self.collector = root, collector
        self.colours: dict[int, str] = {}
        self.names: list[str] = []
        path = next((os.path.join(root, name) for name in _NAME_FILES if os.path.isfile(os.path.join(root, name))), None)
        if path is not None:
            with open(path, encoding="utf-8-sig") as file:
                lines = [line.strip() for line in file if line.strip() and not line.startswith("#")]
            self.names = [line.split(":")[0].strip() if path.endswith("labelmap.txt") else line for line in lines]
            if path.endswith("labelmap.txt"):
                self.colours = dict(_coloured(line, path) for line in lines)
        elif os.path.isdir(os.path.join(root, "JPEGImages")) and os.path.isdir(os.path.join(root, "ImageSets")):
            self.names = list(_VOC)
            collector.note(f"no {' or '.join(_NAME_FILES[:2])} in {root}: the classes are those of Pascal VOC")
        if self.names and self.names[0].lower() not in _NO_CLASS and not self.colours:
            collector.note(f"{path}: the first class is {self.names[0]}, no background: it is that of index 1")
            self.names.insert(0, "background")
        for name in self.names:
            if name.lower() not in _NO_CLASS:
                collector.add_class(name, root)

    def of(self, pixels: np.ndarray) -> dict[int, str]:
        """The class of each value of this picture of classes (h, w) or (h, w, c)."""
        if pixels.ndim == 3:
            if not self.colours:
                raise UserError(
                    f"{self.root}: the masks are coloured, and no labelmap.txt there tells whose colour is which "
                    f"(lines 'label:r,g,b::')."
                )
            return {value: name for value, name in self.colours.items() if value and name.lower() not in _NO_CLASS}
        if not self.names:
            self.collector.note(
                f"no file in {self.root} names the classes: they are called class_1, class_2 … after their index. "
                "Write their names into class_names.txt, one a line, the background first."
            )
            return {int(value): f"class_{value}" for value in np.unique(pixels) if value not in (0, _VOID)}
        return {value: name for value, name in enumerate(self.names) if value and name.lower() not in _NO_CLASS}


def _coloured(line: str, path: str) -> tuple[int, str]:
    name, _, rest = line.partition(":")
    try:
        red, green, blue = (int(value) for value in rest.split(":")[0].split(","))
    except ValueError:
        raise UserError(f"{path}: {line!r} is no line 'label:r,g,b::'.") from None
    return (red << 16) | (green << 8) | blue, name.strip()
