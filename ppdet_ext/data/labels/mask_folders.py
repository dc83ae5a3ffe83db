"""Where mask PNGs lie: VOC's folders, folders of plain masks, and the pictures beside them."""

from __future__ import annotations

import os
import re
from collections import defaultdict

import numpy as np

from ppdet_ext.data.images.check import IMAGE_SUFFIXES
from ppdet_ext.errors import UserError, counted

from .index_maps import values_of
from .label_format import Head
from .listing import files_below
from .mask_names import VOID
from .pictures import Pictures
from .safety import open_png

# Folder of classes -> that of objects, in small letters.
FOLDERS = {"segmentationclass": "segmentationobject", "segmentationclasspng": "segmentationobjectpng"}
# Without the layout of VOC: a folder of this name beside the pictures, or any of nothing but mask PNGs.
PLAIN = ("masks", "mask")
# A picture of more values is a photograph.
_MOST_CLASSES = 64
# What people put behind the picture's name.
_SUFFIX = re.compile("[-_](mask|masks|label|labels|seg|segmentation)$", re.I)
# So many PNGs tell whether a folder has masks of 0 and 255.
_LOOKED_AT = 50


def has_plain_masks(head: Head) -> bool:
    """Whether a folder without JSON and XML has a folder of masks, or nothing but them: grey or index PNGs of few values."""
    if any(name.lower().endswith((".json", ".xml")) for name in head.names):
        return False
    own = [name for name in head.names if last_part_of(os.path.dirname(os.path.join(head.path, name))) in PLAIN] or head.names
    masks = [name for name in own if name.lower().endswith(".png")]
    rest = any(name.lower().endswith(IMAGE_SUFFIXES) for name in own if name not in masks)
    return bool(masks) and not rest and all(_is_mask(os.path.join(head.path, name)) for name in masks[:3])


def _is_mask(path: str) -> bool:
    try:
        pixels = grey(open_png(path))
    except UserError:
        return False
    return pixels.ndim == 2 and len(values_of(pixels)) <= _MOST_CLASSES


def grey(pixels: np.ndarray) -> np.ndarray:
    """(h, w) of a picture whose colours are all grey and opaque; any other as it is."""
    if pixels.ndim == 2 or pixels.shape[2] not in (3, 4) or (pixels.shape[2] == 4 and (pixels[..., 3] != 255).any()):
        return pixels
    same = (pixels[..., 0] == pixels[..., 1]).all() and (pixels[..., 0] == pixels[..., 2]).all()
    return pixels[..., 0] if same else pixels


def class_folders(paths: list[str]) -> list[str]:
    """Folders SegmentationClass at or below the paths; else folders masks; else the paths."""
    places = [place for path in paths for place, _, _ in sorted(os.walk(path))]
    for names in (FOLDERS, PLAIN):
        if found := [place for place in places if last_part_of(place) in names]:
            return found
    return [path for path in paths if os.path.isdir(path)]


def masks_of(folder: str) -> list[tuple[str, str]]:
    """(path, name in the folder) of the PNGs."""
    lossy = [path for ending in (".jpg", ".jpeg", ".webp") for path, _ in files_below([folder], ending)]
    if lossy:
        raise UserError(f"{lossy[0]}: JPEG changes the numbers of a mask ({counted(len(lossy), 'files')}). Export PNG.")
    return files_below([folder], ".png")


def are_two_valued(masks: list[tuple[str, str]]) -> bool:
    """Whether all of the first have no values but 0 and 255, and some have both."""
    seen: set[int] = set()
    for path, _ in masks[:_LOOKED_AT]:
        pixels = grey(open_png(path))
        seen.update(values_of(pixels) if pixels.ndim == 2 and pixels.dtype == np.uint8 else [1])
        if not seen <= {0, VOID}:
            return False
    return VOID in seen


def last_part_of(path: str) -> str:
    """The last folder's or file's name in small letters."""
    return os.path.basename(os.path.abspath(path)).lower()


class Photographs:
    """The pictures by their names without suffix; not the masks, which have the same.

    folders: those of the masks.
    """

    def __init__(self, pictures: Pictures, folders: list[str]) -> None:
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        masks = tuple(os.path.join(os.path.abspath(folder), "") for folder in folders)
        for name in pictures.all():
            path = os.path.join(pictures.folder or "", *name.split("/"))
            if not os.path.abspath(path).startswith(masks):
                self.by_stem[os.path.splitext(os.path.basename(name))[0]].append(path)

    def find(self, stem: str, subset: str | None) -> tuple[str, str | None]:
        """(stem of the picture, its path) for the stem of a mask, as a/b, or a/b_mask; None where there is none, or several.

        Of several the one in the same folders, or in one of the subset's name.
        """
        for own in dict.fromkeys((stem, _SUFFIX.sub("", stem))):
            found = self.by_stem.get(own.rpartition("/")[2], [])
            for part in (f"/{own}.", f"/{subset}/"):
                chosen = [path for path in found if part in path.replace(os.sep, "/")]
                found = chosen if len(found) > 1 and chosen else found
            if len(found) == 1:
                return own, found[0]
        return stem, None
