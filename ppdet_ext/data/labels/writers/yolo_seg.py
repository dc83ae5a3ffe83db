"""YOLO segmentation: a text file for each image, a line of one polygon for each object, and data.yaml."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import numpy as np
import yaml

from ppdet_ext.structures import Rle

from ..collector import tracked
from ..label_set import LabelledImage, LabelledObject, LabelSet
from .common import DEFAULTS, WriteOptions, Written, drawn_polygon, inside, places

SUBSET = "train"  # of images of which the labels do not tell


def write(labels: LabelSet, out: Path, options: WriteOptions = DEFAULTS) -> Written:
    """Write `labels/<subset>/<image>.txt` and `data.yaml`; the pictures belong in `images/<subset>/`.

    A line holds one polygon: as drawn, if it still gives the object's pixels, else along the pixels' edges. Holes and separate
    parts are joined to it by bridges of no width, there and back: the pixels stay, if the polygon is filled by the even-odd
    rule, as COCO's tools and OpenCV do; tools that draw the outline too (Ultralytics' masks) show the bridge as a line.

    Raises: UserError where it cannot be written.
    """
    done, own_places = Written(options), places(labels, "")
    numbers = {name: number for number, name in enumerate(labels.class_names)}
    for image in tracked(labels.images, "YOLO"):
        place = f"{image.subset or SUBSET}/{own_places[image.name]}"
        done.text(inside(out, f"labels/{place}.txt"), _lines(image, numbers, done))
        # The labels of images/a/b.jpg are looked for in labels/a/b.txt.
        done.pictures[image.name] = inside(out, f"images/{place}{PurePosixPath(image.name).suffix}")
    subsets = sorted({image.subset or SUBSET for image in labels.images}) or [SUBSET]
    # Ultralytics demands a `val`.
    splits = {subset: f"images/{subset}" for subset in subsets} | ({} if "val" in subsets else {"val": f"images/{subsets[0]}"})
    content = {"path": ".", **splits, "names": dict(enumerate(labels.class_names))}
    done.text(out / "data.yaml", yaml.safe_dump(content, sort_keys=False, allow_unicode=True))
    return done


def _lines(image: LabelledImage, numbers: dict[str, int], done: Written) -> str:
    lines = []
    for own in done.kept(image):
        points = _drawn(own)
        if points is None:
            rings = even_odd_rings(own.mask)
            points = _relative(joined(rings), own.mask)
            done.changed["objects with holes or of several parts, joined by bridges"] += len(rings) > 1
        done.lost["scores"] += own.score is not None
        lines.append(" ".join([str(numbers[own.class_name]), *points]) + "\n")
    return "".join(lines)


def _drawn(own: LabelledObject) -> list[str] | None:
    """The coordinates of an object that was drawn as one polygon, if what is written of them gives its pixels."""
    polygon = drawn_polygon(own)
    if polygon is None:
        return None
    texts = _relative(polygon, own.mask)
    read = np.reshape(list(map(float, texts)), (-1, 2)) * (own.mask.width, own.mask.height)
    return texts if Rle.from_polygons([read.ravel().tolist()], *own.mask.size) == own.mask else None


def _relative(points: np.ndarray, mask: Rle) -> list[str]:
    """Points (n, 2) in parts of the picture, within it; eight digits give a thousandth of a pixel in any picture."""
    relative = np.clip(points / (mask.width, mask.height), 0, 1)
    return [f"{value:.8g}" for value in relative.ravel()]


def even_odd_rings(mask: Rle) -> list[np.ndarray]:
    """Outlines (n, 2) x, y along the pixel edges: a pixel is set where an odd number of them surrounds it."""
    rings, rest = [], mask
    while rest:
        filled = rest.fill_holes()
        rings += [np.reshape(polygon, (-1, 2)) for polygon in filled.to_polygons()]
        # The holes, and in the next round what lies within them.
        rest = filled.subtract(rest)
    return rings


def joined(rings: list[np.ndarray]) -> np.ndarray:
    """One polygon (n, 2) of all rings; each is joined at the nearest points by a line there and back.

    The line crosses each column twice at one place, so that by the even-odd rule it changes nothing.
    """
    polygon, *others = rings
    for ring in others:
        # Without scipy, which environments of the page alone do not have.
        x, y = (polygon[:, None, axis].astype(float) - ring[None, :, axis] for axis in (0, 1))
        distances = x * x + y * y
        here, there = np.unravel_index(distances.argmin(), distances.shape)
        turned = np.roll(ring, -int(there), axis=0)
        polygon = np.concatenate([polygon[: here + 1], turned, turned[:1], polygon[here:]])
    return polygon
