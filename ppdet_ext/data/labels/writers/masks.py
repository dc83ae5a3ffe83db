"""Index PNGs as in Pascal VOC: a picture whose pixels are numbers of classes, and one whose pixels are numbers of objects.

CVAT takes the folder, zipped, as "Segmentation mask 1.1".
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from ..collector import tracked
from ..label_set import LabelledImage, LabelSet
from .common import DEFAULTS, WriteOptions, Written, inside, places
from .palette import colour, palette

CLASSES, INSTANCES, LEGEND = "SegmentationClass", "SegmentationObject", "labelmap.txt"
SUBSET = "default"  # of images of which the labels do not tell
_LARGEST = 254  # of an index in a palette; VOC's 255 means "do not care"


def write(labels: LabelSet, out: Path, options: WriteOptions = DEFAULTS) -> Written:
    """Write `SegmentationClass/<image>.png`, `SegmentationObject/<image>.png`, `labelmap.txt` and `ImageSets/Segmentation`.

    0 is background; classes count from 1 in their order, which is that of the lines of `labelmap.txt`, objects in that of the
    image. Of objects that share pixels the higher score lies on top; without scores the later one. Lossless, with VOC's
    palette; with a number beyond 254 16-bit grey.

    Raises: UserError where it cannot be written, or for a class with a colon.
    """
    done, own_places = Written(options), places(labels, "")
    numbers = {name: number for number, name in enumerate(labels.class_names, 1)}
    subsets: dict[str, list[str]] = {}
    for image in tracked(labels.images, "Masks"):
        place = own_places[image.name]
        for folder, canvas in zip((CLASSES, INSTANCES), _painted(image, numbers, done)):
            picture = _png(canvas, len(numbers) if folder == CLASSES else int(canvas.max(initial=0)))
            done.write(inside(out, f"{folder}/{place}.png"), partial(picture.save, format="PNG"))
        subsets.setdefault(image.subset or SUBSET, []).append(place)
    for subset, members in subsets.items():
        done.text(inside(out, f"ImageSets/Segmentation/{subset}.txt"), "".join(f"{place}\n" for place in members))
    lines = [
        f"{_checked(name)}:{','.join(map(str, colour(number)))}::" for name, number in {"background": 0, **numbers}.items()
    ]
    done.text(out / LEGEND, "\n".join(["# label:color_rgb:parts:actions", *lines, ""]))
    return done


def _painted(image: LabelledImage, numbers: dict[str, int], done: Written) -> tuple[np.ndarray, np.ndarray]:
    """(classes, instances), each (h, w) int32."""
    own = [(place, one) for place, one in enumerate(image.objects, 1) if one.mask and not one.crowd]
    done.kept(image)
    done.lost["scores"] += sum(one.score is not None for _, one in own)
    own.sort(key=lambda pair: pair[1].score or 0.0)
    instances = indices(((place, one.mask) for place, one in own), image.height, image.width)
    left = np.bincount(instances.ravel(), minlength=len(image.objects) + 1).tolist()
    areas = [(left[place], one.mask.area) for place, one in own]
    done.changed["objects partly covered by others"] += sum(0 < seen < area for seen, area in areas)
    hidden = sum(not seen for seen, _ in areas)
    done.lost["objects wholly covered by others"] += hidden
    done.objects -= hidden
    classes = np.zeros(len(image.objects) + 1, np.int32)
    for place, one in own:
        classes[place] = numbers[one.class_name]
    return classes[instances], instances


def indices(masks: Iterable[tuple[int, Rle]], height: int, width: int) -> np.ndarray:
    """(h, w) int32: 0, and the number of each (number, mask), later ones on top."""
    canvas = np.zeros((height, width), np.int32)
    for number, mask in masks:
        x1, y1, x2, y2 = map(int, mask.box)
        canvas[y1:y2, x1:x2][mask.crop(y1, x1, y2, x2).to_bitmap() > 0] = number
    return canvas


def _png(canvas: np.ndarray, most: int) -> Image.Image:
    """The picture of numbers up to `most`."""
    if most > _LARGEST:
        return Image.fromarray(canvas.astype(np.uint16))
    picture = Image.fromarray(canvas.astype(np.uint8), "P")
    picture.putpalette(palette())
    return picture


def _checked(name: str) -> str:
    if set(name) & set(":\r\n"):
        raise UserError(f"The class {name!r} has a colon or line end in its name, which {LEGEND} cannot hold. Rename it.")
    return name
