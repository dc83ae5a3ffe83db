"""labelme: a JSON file beside each picture, masks as shapes of the kind `mask`, drawn polygons as polygons."""

from __future__ import annotations

import base64
import io
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from PIL import Image

from ppdet_ext.structures import Rle

from ..collector import tracked
from ..label_set import LabelledImage, LabelledObject, LabelSet
from .common import DEFAULTS, WriteOptions, Written, drawn_polygon, inside, places

# The first version with `mask` shapes is 5.3; newer ones read older files.
VERSION = "5.4.1"


def write(labels: LabelSet, out: Path, options: WriteOptions = DEFAULTS) -> Written:
    """Write `<image>.json` for each image, in its sub-folder; labelme looks for the picture in the JSON's folder.

    A polygon that was drawn stays one, if it still gives the object's pixels; every other object is a mask.

    Raises: UserError where it cannot be written.
    """
    done, own_places = Written(options), places(labels, ".json")
    for image in tracked(labels.images, "labelme"):
        shapes = [_shape(own) for own in done.kept(image)]
        path = inside(out, own_places[image.name])
        done.pictures[image.name] = path.parent / PurePosixPath(image.name).name
        done.json(path, _file(image, shapes), indent=2)
    return done


def _file(image: LabelledImage, shapes: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(image.name).name,
        "imageData": None,
        "imageHeight": image.height,
        "imageWidth": image.width,
    }


def _shape(own: LabelledObject) -> dict[str, Any]:
    shape: dict[str, Any] = {"label": own.class_name, "group_id": None, "description": "", "flags": {}}
    if own.score is not None:
        # The place for remarks; labelme has none for scores.
        shape["description"] = f"score {own.score:.4f}"
    if (polygon := drawn_polygon(own)) is not None:
        return shape | {"shape_type": "polygon", "points": polygon.tolist(), "mask": None}
    x1, y1, x2, y2 = map(int, own.mask.box)
    # Both corners belong to the mask.
    corners = [[x1, y1], [x2 - 1, y2 - 1]]
    return shape | {"shape_type": "mask", "points": corners, "mask": _png(own.mask.crop(y1, x1, y2, x2))}


def _png(mask: Rle) -> str:
    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(mask.to_bitmap())).save(stream, "PNG")
    return base64.b64encode(stream.getvalue()).decode()
