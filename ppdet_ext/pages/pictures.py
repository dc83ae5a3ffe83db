"""Pictures inside a page: cut out with what is around, made small, written as JPEG data URIs, with layers of outlines."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from markupsafe import Markup

from ppdet_ext.structures import Rle

from .charts import svg
from .outlines import path_of

QUALITY = 80
WIDE = 2.2  # pictures this many times as wide as high get the page's whole width, one below the other


class Window(NamedTuple):
    """Rows y1…y2 and columns x1…x2 of a picture, ends exclusive."""

    y1: int
    x1: int
    y2: int
    x2: int

    @property
    def size(self) -> tuple[int, int]:
        """(height, width)."""
        return self.y2 - self.y1, self.x2 - self.x1


def window_around(boxes: np.ndarray, height: int, width: int, context: float = 0.35, least: int = 96) -> Window:
    """The part of a picture of height x width with all boxes (n, 4) x1 y1 x2 y2, and what is around them.

    context: share of the boxes' longer side on each side. least: pixels of its sides, as far as the picture has them.
    The whole picture where there are no boxes.
    """
    boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
    if not len(boxes):
        return Window(0, 0, height, width)
    x1, y1 = boxes[:, :2].min(axis=0)
    x2, y2 = boxes[:, 2:].max(axis=0)
    margin = context * max(x2 - x1, y2 - y1)
    top, bottom = _stretch(y1 - margin, y2 + margin, least, height)
    left, right = _stretch(x1 - margin, x2 + margin, least, width)
    return Window(top, left, bottom, right)


def _stretch(low: float, high: float, least: float, end: int) -> tuple[int, int]:
    """[low, high) made `least` long around its middle and moved inside [0, end)."""
    missing = max(least - (high - low), 0.0) / 2
    low, high = low - missing, high + missing
    if high - low >= end:
        return 0, end
    low = min(max(low, 0.0), end - (high - low) if low + (high - low) > end else low)
    first = int(np.floor(max(low, 0.0)))
    return first, int(min(max(np.ceil(high), first + 1), end))


def jpeg_uri(pixels: np.ndarray, longest: int = 900, quality: int = QUALITY) -> str:
    """A data URI of a picture (h, w) or (h, w, 3) uint8 RGB, made smaller so that no side is beyond `longest` pixels."""
    height, width = pixels.shape[:2]
    factor = longest / max(height, width, 1)
    if factor < 1:
        size = max(round(width * factor), 1), max(round(height * factor), 1)
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    stored = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR) if pixels.ndim == 3 else pixels
    # Optimised Huffman tables cost little time and save some percent.
    _, data = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_OPTIMIZE, 1])
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode("ascii")


@dataclass(frozen=True)
class Outline:
    """A mask as a path, filled faintly, in the colour of its `kind`: truth, prediction, tp, fp or fn; or in `colour`."""

    path: str
    kind: str
    title: str = ""
    colour: str | None = None

    @classmethod
    def of(cls, mask: Rle, kind: str, title: str = "", window: Window | None = None, tolerance: float = 0.0) -> "Outline":
        """The part of a mask in a window (None: all of it), in the window's pixels."""
        return cls(path_of(mask if window is None else mask.crop(*window), tolerance), kind, title)


@dataclass(frozen=True)
class Panel:
    """One view of a picture: its name, and what lies on it."""

    name: str
    outlines: Sequence[Outline]


def panels(name: str, uri: str, size: tuple[int, int], shown: Sequence[Panel], alt: str) -> Markup:
    """Several views of one picture, stored once, beside each other; below each other where it is wide.

    name: unique in the page, of letters and digits; the picture's anchor. size: (height, width) of the outlines' pixels.
    """
    height, width = size
    parts = []
    for i, panel in enumerate(shown):
        stored = {"id": f"{name}-i", "href": uri, "width": width, "height": height, "preserveAspectRatio": "none"}
        picture = svg.element("use", href=f"#{name}-i") if i else svg.element("image", **stored)
        layers = [_layer(outline) for outline in panel.outlines if outline.path]
        seen = {"viewBox": f"0 0 {width} {height}", "role": "img", "aria_label": f"{alt}: {panel.name}"}
        drawn = svg.element("svg", picture, *layers, class_="picture", **seen)
        parts.append(svg.element("figure", drawn, svg.element("figcaption", panel.name), class_="panel"))
    kind = "panels wide" if width >= WIDE * height else "panels"
    return svg.element("div", *parts, class_=kind, style=f"--ratio:{width / max(height, 1):.3f}")


def _layer(outline: Outline) -> Markup:
    style = f"--c:{outline.colour}" if outline.colour else None
    hover = svg.title(outline.title) if outline.title else ""
    return svg.element("path", hover, d=outline.path, class_=f"layer {outline.kind}", style=style)
