"""Small files of label tools for tests: written here, read by what is tested."""

import base64
import io
import json
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from ppdet_ext.data.labels.formats import read_labels
from ppdet_ext.data.labels.label_set import LabelSet

SQUARE = [[2, 1], [6, 1], [6, 4], [2, 4]]  # 4 x 3 pixels
# Polygons of a picture of 8 x 10 pixels that give no mask, and how they are counted.
BAD = ([[1, 1]], [[1, 1], [2, math.nan], [3, 3]], [[20, 20], [25, 20], [25, 25]])
BAD_REASONS = {"polygons of fewer than three points": 1, "polygons with coordinates that are not finite": 1, "empty masks": 1}
# Pictures of up to 9 x 9 pixels of 0 to 3.
SMALL = st.tuples(st.integers(1, 9), st.integers(1, 9)).flatmap(lambda size: arrays(np.uint8, size, elements=st.integers(0, 3)))
PROPERTY = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])


def flat(points: list) -> list:
    return [value for point in points for value in point]


def write_json(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def write_text(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def png(pixels: Any, palette: bool = False, transparent: bool = False) -> bytes:
    """Bytes of a PNG of uint8, bool, uint16 (h, w) or uint8 (h, w, c); with a palette, whose index 0 is `transparent`."""
    values = np.asarray(pixels)
    picture = Image.fromarray(values if values.dtype in (np.uint8, np.uint16, bool) else values.astype(np.uint8))
    if palette:
        picture = Image.fromarray(values.astype(np.uint8), "P")
        picture.putpalette([value for index in range(256) for value in (index, 255 - index, 7)])
    stream = io.BytesIO()
    picture.save(stream, "PNG", **({"transparency": 0} if transparent else {}))
    return stream.getvalue()


def write_png(path: Path, pixels: Any, palette: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(png(pixels, palette))
    return path


def base64_png(pixels: Any, packed: bool = False, **how: bool) -> str:
    data = png(pixels, **how)
    return base64.b64encode(zlib.compress(data) if packed else data).decode()


def read(*paths: Path, images: Path | None = None, form: str = "auto") -> LabelSet:
    return read_labels([str(path) for path in paths], images and str(images), form)


def areas(labels: LabelSet) -> dict[str, list[tuple[str, int]]]:
    """(class, pixels) of each object by picture."""
    return {image.name: [(one.class_name, one.mask.area) for one in image.objects] for image in labels.images}
