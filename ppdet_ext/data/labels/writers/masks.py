"""Index PNGs: a picture whose pixels are numbers of classes, and one whose pixels are numbers of objects."""

from __future__ import annotations

import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from ppdet_ext.structures import Rle

from ..label_set import LabelledImage, LabelSet
from .common import DEFAULTS, WriteOptions, Written, inside, places, tracked
from .palette import colour, palette

CLASSES, INSTANCES, LEGEND = "classes", "instances", "classes.csv"
_LARGEST = 255  # of an index in a palette


def write(labels: LabelSet, out: Path, options: WriteOptions = DEFAULTS) -> Written:
    """Write `classes/<image>.png`, `instances/<image>.png`, and what the numbers of the first mean in `classes.csv`.

    0 is background; classes count from 1 in their order, objects in that of the image. Of objects that share pixels the higher
    score lies on top; without scores the later one. Lossless, with Pascal VOC's palette; with a number beyond 255 16-bit grey.

    Raises: UserError where it cannot be written.
    """
    done, own_places = Written(), places(labels, ".png")
    numbers = {name: number for number, name in enumerate(labels.class_names, 1)}
    for image in tracked(labels, "Masks"):
        for folder, canvas in zip((CLASSES, INSTANCES), _painted(image, numbers, done)):
            most = len(numbers) if folder == CLASSES else int(canvas.max(initial=0))
            done.data(inside(out, f"{folder}/{own_places[image.name]}"), _png(canvas, most), options.setting)
    rows = [f"{number},{_cell(name)},{','.join(map(str, colour(number)))}" for name, number in numbers.items()]
    done.text(out / LEGEND, "\n".join(["index,class,red,green,blue", "0,background,0,0,0", *rows, ""]), options.setting)
    return done


def _painted(image: LabelledImage, numbers: dict[str, int], done: Written) -> tuple[np.ndarray, np.ndarray]:
    """(classes, instances), each (h, w) int32."""
    own = [(place, one) for place, one in enumerate(image.objects, 1) if one.mask and not one.crowd]
    done.kept(image)
    done.lost["scores"] += sum(one.score is not None for _, one in own)
    own.sort(key=lambda pair: pair[1].score or 0.0)
    instances = indices(((place, one.mask) for place, one in own), image.height, image.width)
    left = np.bincount(instances.ravel(), minlength=len(image.objects) + 1)
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


def _png(canvas: np.ndarray, most: int) -> bytes:
    """The file of numbers up to `most`."""
    if most > _LARGEST:
        picture = Image.fromarray(canvas.astype(np.uint16))
    else:
        picture = Image.fromarray(canvas.astype(np.uint8), "P")
        picture.putpalette(palette())
    stream = io.BytesIO()
    picture.save(stream, "PNG")
    return stream.getvalue()


def _cell(text: str) -> str:
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text
