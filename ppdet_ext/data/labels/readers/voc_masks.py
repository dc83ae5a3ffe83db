"""Mask PNGs in Pascal VOC's manner: a folder SegmentationClass, and SegmentationObject beside it.

labelme2voc.py writes them with a palette and class_names.txt, CVAT ("Segmentation mask 1.1") in colours with labelmap.txt, our
own writer of masks with a palette, or of 16 bits, and labelmap.txt.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator
from functools import partial

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import Collector, Spoiling, subset_name, tracked
from ..index_maps import colour_ids, fits_picture, regions_of
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..mask_folders import (
    FOLDERS,
    PLAIN,
    Photographs,
    are_two_valued,
    class_folders,
    grey,
    has_plain_masks,
    last_part_of,
    masks_of,
)
from ..mask_names import VOID, VOID_COLOUR, MaskNames
from ..parts import Part, add_parts
from ..pictures import Pictures
from ..safety import open_png, read_text

_NAMELESS = "regions of a class without a name"


def looks_like(head: Head) -> bool:
    """A folder with a folder SegmentationClass in it, or such a folder itself; else one of plain mask PNGs."""
    folders = {part.lower() for name in head.names for part in name.split("/")[:-1]} | {last_part_of(head.path)}
    return bool(head.names) and (bool(folders & set(FOLDERS)) or has_plain_masks(head))


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read all folders SegmentationClass, or of plain masks; without SegmentationObject each connected region is an object.

    Raises: UserError where masks are no PNG: lossy files have false numbers.
    """
    collector = Collector("voc_masks", pictures)
    folders = class_folders(paths)
    if not folders:
        raise UserError(f"{', '.join(paths)}: name the folder of the masks, or the one that holds SegmentationClass.")
    for folder in folders:
        root = os.path.dirname(os.path.abspath(folder)) if last_part_of(folder) in (*FOLDERS, *PLAIN) else folder
        wanted = FOLDERS.get(last_part_of(folder))
        objects = next((os.path.join(root, name) for name in sorted(os.listdir(root)) if name.lower() == wanted), None)
        if objects is None:
            collector.note("no folder SegmentationObject: each connected region of a class is read as an object")
        masks = masks_of(folder)
        collector.pass_over(partial(_is_below, os.path.relpath(folder, pictures.folder or folder)))
        two_valued = are_two_valued(masks)
        if two_valued:
            collector.note("the masks have no values but 0 and 255: 255 is read as the first class")
        photographs = Photographs(pictures, [folder, *filter(None, [objects])])
        reader = _Folder(collector, objects, MaskNames(root, collector), dict(_subsets(root)), photographs, two_valued)
        for path, name in tracked(masks, "Mask PNGs"):
            reader.add(path, name)
    return collector.result(", ".join(paths))


def _is_below(folder: str, name: str) -> bool:
    """Whether a file is in the folder of masks, or in one of VOC's (SegmentationObject, …Visualization)."""
    return name.startswith(f"{folder.replace(os.sep, '/')}/") or "segmentation" in posixpath.dirname(name).lower()


def _subsets(root: str) -> Iterator[tuple[str, str]]:
    """(image, its subset) of ImageSets/Segmentation/*.txt; 'trainval' tells no subset."""
    folder = os.path.join(root, "ImageSets", "Segmentation")
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        subset = subset_name(name.removesuffix(".txt"))
        if name.endswith(".txt") and name != "trainval.txt" and subset:
            lines = read_text(os.path.join(folder, name)).splitlines()
            yield from ((line.strip(), subset) for line in lines if line.strip())


class _Folder:
    """The PNGs of one SegmentationClass; `objects` is the folder SegmentationObject beside it, or None."""

    def __init__(
        self, collector: Collector, objects: str | None, names: MaskNames, subsets: dict[str, str],
        photographs: Photographs, two_valued: bool,
    ) -> None:  # fmt: skip
        self.collector, self.objects, self.names, self.subsets = collector, objects, names, subsets
        self.photographs, self.two_valued = photographs, two_valued

    def add(self, path: str, name: str) -> None:
        """Read the PNG of classes at `path`, and that of objects of the same name."""
        subset = self.subsets.get(name[: -len(".png")])
        stem, picture = self.photographs.find(name[: -len(".png")], subset)
        classes = self._classes(path)
        if not fits_picture(classes.shape[:2], picture):
            self.collector.skip("masks of another size than their picture", path)
            return
        numbers = self._numbers(path, name, classes.shape[:2])
        if self.objects is not None and numbers is None:
            return
        ids, class_of = self._without_void(classes, path), self.names.of(classes)
        height, width = ids.shape
        image = self.collector.image(stem + (os.path.splitext(picture)[1] if picture else ".jpg"), height, width, path, subset)
        image.file = picture
        if numbers is None:
            parts = self._regions(image, ids, class_of, path)
        else:
            parts = self._objects(image, ids, numbers, class_of, path)
        add_parts(self.collector, image, parts)

    def _classes(self, path: str) -> np.ndarray:
        pixels = open_png(path)
        # Masks that are black and white may have been saved in colours.
        pixels = pixels if self.names.colours else grey(pixels)
        if not self.two_valued:
            return pixels
        if pixels.ndim != 2 or not np.isin(pixels, (0, VOID)).all():
            raise UserError(f"{path}: has other values than 0 and 255, unlike the masks before. Resized, or of another kind?")
        return (pixels == VOID).astype(np.uint8)

    def _numbers(self, path: str, name: str, size: tuple[int, ...]) -> np.ndarray | None:
        """The PNG of objects; None where there is none, which is counted if there should be one."""
        if self.objects is None:
            return None
        file = os.path.join(self.objects, *name.split("/"))
        if not os.path.isfile(file):
            self.collector.skip("masks of classes without one of objects", path)
            return None
        numbers = open_png(file)
        if numbers.shape[:2] != size:
            self.collector.skip("masks of objects of another size than those of classes", file)
            return None
        return numbers

    def _without_void(self, pixels: np.ndarray, where: str) -> np.ndarray:
        ids = colour_ids(pixels)
        void = self._is_void(ids, pixels)
        if void.any():
            self.collector.skip("ignored regions (index 255)", where)
        return np.where(void, 0, ids)

    def _is_void(self, ids: np.ndarray, pixels: np.ndarray) -> np.ndarray:
        if pixels.ndim == 2 and pixels.dtype.itemsize > 1:
            return np.zeros(ids.shape, bool)  # of 16 bits: 255 is an object as others are
        return np.asarray(ids == (VOID if pixels.ndim == 2 else VOID_COLOUR))

    def _regions(self, image: LabelledImage, ids: np.ndarray, class_of: dict[int, str], where: str) -> Iterator[Part]:
        for value, mask in regions_of(ids):
            if value in class_of:
                yield from (Part(class_of[value], part, where) for part in mask.components())
            else:
                self.collector.skip(Spoiling(_NAMELESS), f"{where}, {_shown(value)}", image)

    def _objects(
        self, image: LabelledImage, ids: np.ndarray, pixels: np.ndarray, class_of: dict[int, str], where: str
    ) -> Iterator[Part]:
        numbers = colour_ids(pixels)
        numbers[self._is_void(numbers, pixels)] = 0
        if ((ids != 0) & (numbers == 0)).any():
            self.collector.skip("regions of a class without an object", where, image)
        for number, mask in regions_of(numbers):
            value = _majority(ids, mask)
            if value in class_of:
                yield Part(class_of[value], mask, f"{where}, object {_shown(number)}")
            else:
                reason = Spoiling(_NAMELESS) if value else "objects without a class"
                self.collector.skip(reason, f"{where}, object {_shown(number)}", image)


def _majority(ids: np.ndarray, mask: Rle) -> int:
    """The value that most pixels of an object have."""
    x1, y1, x2, y2 = map(int, mask.box)
    inside = ids[y1:y2, x1:x2][mask.crop(y1, x1, y2, x2).to_bitmap() != 0]
    values, counts = np.unique(inside, return_counts=True)
    return int(values[counts.argmax()])


def _shown(value: int) -> str:
    return str(value) if value <= VOID else f"colour {value >> 16},{value >> 8 & 255},{value & 255}"
