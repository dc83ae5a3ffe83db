"""Pictures inside a page: cut out with what is around, made small, written as JPEG data URIs, with layers of outlines."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from markupsafe import Markup

from .charts import svg

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
    length = max(high - low, least)
    first = min(max((low + high - length) / 2, 0.0), max(end - length, 0.0))
    # Rounded outwards, so that nothing of what it is about is cut off.
    return int(np.floor(first)), int(min(np.ceil(first + length), end))


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
class Stored:
    """A picture, or a part of one, and where it lies on the whole one."""

    uri: str
    window: Window


def store(name: str, pictures: Sequence[Stored], paths: Sequence[str]) -> Markup:
    """What panels show, once in a page: pictures `<name>-i0`, … and paths `<name>-0`, … in the whole picture's pixels.

    Beneath each path lies its rim, the same line wider and dark, which style.css shows but of layers that are filled alone.
    name: unique in the page, of letters, digits and hyphens.
    """
    parts = []
    for i, one in enumerate(pictures):
        height, width = one.window.size
        place = {"x": one.window.x1, "y": one.window.y1, "width": width, "height": height}
        parts.append(svg.element("image", id=f"{name}-i{i}", href=one.uri, preserveAspectRatio="none", **place))
    for i, path in enumerate(paths):
        line = svg.element("path", id=f"{name}-{i}p", d=path, vector_effect="non-scaling-stroke", fill_rule="evenodd")
        parts.append(svg.element("g", svg.element("use", href=f"#{name}-{i}p", class_="rim"), line, id=f"{name}-{i}"))
    return svg.element("svg", svg.element("defs", *parts), class_="store", aria_hidden="true", width=0, height=0)


@dataclass(frozen=True)
class Layer:
    """A stored path on a picture. number: of the path. kind: truth, prediction, tp, fp, fn or mixed, and more CSS classes."""

    number: int
    kind: str
    title: str = ""


@dataclass(frozen=True)
class Panel:
    """One view of a picture: its name, what lies on it, words below. pale: in grey, so that layers' colours stand out."""

    name: str
    layers: Sequence[Layer]
    note: str = ""
    pale: bool = False


def panels(name: str, window: Window, shown: Sequence[Panel], alt: str, picture: int = 0) -> Markup:
    """Several views of a part of a stored picture, beside each other; below each other where the part is wide.

    name: as given to `store`. alt: alternative text. picture: number of the stored one.
    """
    height, width = window.size
    parts = []
    for panel in shown:
        uses = [svg.element("use", href=f"#{name}-i{picture}"), *(_use(name, layer) for layer in panel.layers)]
        seen = {"viewBox": f"{window.x1} {window.y1} {width} {height}", "role": "img", "aria_label": f"{alt}: {panel.name}"}
        words = svg.element("figcaption", svg.element("b", panel.name), f" {panel.note}" if panel.note else "")
        parts.append(
            svg.element(
                "figure",
                svg.element("svg", *uses, class_="picture pale" if panel.pale else "picture", **seen),
                words,
                class_="panel",
            )
        )
    return svg.element("div", *parts, class_="panels wide" if width >= WIDE * height else "panels")


def _use(name: str, layer: Layer) -> Markup:
    hover = svg.title(layer.title) if layer.title else ""
    return svg.element("use", hover, href=f"#{name}-{layer.number}", class_=f"layer {layer.kind}")
