"""Which class the pixels of a mask PNG stand for: names by index or by colour, from a text file beside the masks."""

from __future__ import annotations

import os

import numpy as np

from ppdet_ext.errors import UserError

from .collector import Collector
from .parts import NO_CLASS
from .safety import read_text

_NAME_FILES = ("labelmap.txt", "class_names.txt", "classes.txt", "labels.txt")
# "Do not care": index 255, whose colour in VOC's palette is this one.
VOID, VOID_COLOUR = 255, (224 << 16) | (224 << 8) | 192
_VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable"),
    *("dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)


class MaskNames:
    """Class names by the value of a mask's pixels, from a text file in the folder."""

    def __init__(self, root: str, collector: Collector):
        self.root, self.collector = root, collector
        self.colours: dict[int, str] = {}
        self.names: list[str] = []
        path = next((os.path.join(root, name) for name in _NAME_FILES if os.path.isfile(os.path.join(root, name))), None)
        if path is not None:
            self.names, self.colours = _named(path)
        elif os.path.isdir(os.path.join(root, "JPEGImages")) and os.path.isdir(os.path.join(root, "ImageSets")):
            self.names = list(_VOC)
            collector.note(f"no {' or '.join(_NAME_FILES[:2])} in {root}: the classes are those of Pascal VOC")
        if self.names and self.names[0].lower() not in NO_CLASS and not self.colours:
            collector.note(f"{path}: the first class is {self.names[0]}, no background: it is that of index 1")
            self.names.insert(0, "background")
        for name in self.names:
            if name.lower() not in NO_CLASS:
                collector.add_class(name, root)

    def of(self, pixels: np.ndarray) -> dict[int, str]:
        """The class of each value of this picture of classes (h, w) or (h, w, c)."""
        if pixels.ndim == 3:
            if not self.colours:
                raise UserError(
                    f"{self.root}: the masks are coloured, and no labelmap.txt there tells whose colour is which "
                    f"(lines 'label:r,g,b::')."
                )
            return {value: name for value, name in self.colours.items() if value and name.lower() not in NO_CLASS}
        if not self.names:
            self.collector.note(
                f"no file in {self.root} names the classes: they are called class_1, class_2 … after their index. "
                "Write their names into class_names.txt, one a line, the background first."
            )
            return {value: f"class_{value}" for value in range(1, int(pixels.max(initial=0)) + 1) if value != VOID}
        return {value: name for value, name in enumerate(self.names) if value and name.lower() not in NO_CLASS}


def _named(path: str) -> tuple[list[str], dict[int, str]]:
    """Class names by index, and by colour where the file tells it."""
    lines = [line.strip() for line in read_text(path).splitlines() if line.strip() and not line.startswith("#")]
    if not path.endswith("labelmap.txt"):
        return lines, {}
    return [line.split(":")[0].strip() for line in lines], dict(_coloured(line, path) for line in lines)


def _coloured(line: str, path: str) -> tuple[int, str]:
    name, _, rest = line.partition(":")
    try:
        red, green, blue = (int(value) for value in rest.split(":")[0].split(","))
    except ValueError:
        raise UserError(f"{path}: {line!r} is no line 'label:r,g,b::'.") from None
    return (red << 16) | (green << 8) | blue, name.strip()
