"""YOLO's text files of polygons: one a picture, an instance a line, `class x1 y1 x2 y2 …` in parts of the picture's size.

Source: ultralytics/data/utils.py (`img2label_paths`, `verify_image_label`). The format has neither holes nor parts: whoever
wrote it has made an instance of each part, or joined them by lines of no width.
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import yaml

from ppdet_ext.errors import UserError, counted

from ..collector import Collector, Spoiling, Unusable, subset_name, tracked
from ..drawn import polygon_mask
from ..label_format import Head
from ..label_set import LabelledImage, LabelSet
from ..listing import files_below
from ..parts import NO_CLASS, NoObject, Part, add_parts, left_out
from ..pictures import Pictures
from ..safety import check_start, read_text

_SUBSETS = ("train", "val", "valid", "validation", "test")
# Lists and descriptions that lie beside label files.
_OTHER_IN_LABELS = re.compile(r"(classes|readme.*)\.txt$", re.I)
_OTHER_TEXTS = re.compile(r"(classes|train|val|valid|test|labels|notes|requirements|_darknet\.labels|readme.*)\.txt$", re.I)
_LINE = re.compile(rb"\s*\d+(\.0*)?(\s+-?[\d.]+(e-?\d+)?){4,}", re.I)
_MOST_YAML = 1 << 20
_NUMBER = re.compile("[0-9]{1,5}", re.ASCII)
# Tools write points up to a pixel outside; beyond that, numbers are pixels and not parts of the picture.
_OUTSIDE = 0.5


def looks_like(head: Head) -> bool:
    """A data.yaml that has names, with label files beside it, or a folder of either."""
    if not head.names:
        return (
            head.path.lower().endswith((".yaml", ".yml"))
            and _has_names(head.path)
            and bool(_label_files(_folders([head.path])))
        )
    yamls = [name for name in head.names if name.lower().endswith((".yaml", ".yml")) and name.count("/") < 2]
    texts = [name for name in head.names if _is_label_file(name)]
    if any(_has_names(os.path.join(head.path, name)) for name in yamls[:20]):
        return bool(texts)
    # Texts of numbers are common: without names they are labels only in a folder labels, or beside their pictures.
    stems = {os.path.splitext(name)[0] for name in head.names if not name.endswith(".txt")}
    own = [name for name in texts if _in_labels(name) or name.removesuffix(".txt") in stems]
    return any(_LINE.match(_start(os.path.join(head.path, name))) for name in own[:20])


def read(paths: list[str], pictures: Pictures) -> LabelSet:
    """Read the label files below the folders, or of those that a data.yaml lies in.

    Raises: UserError where nothing is a label file, or no picture is found: these alone tell the size.
    """
    collector = Collector("yolo_seg", pictures)
    folders = _folders(paths)
    if folders != paths and pictures.folder is not None and not pictures.below:
        # Beside a data.yaml the pictures lie in folders.
        pictures = collector.pictures = Pictures(pictures.folder)
    files = _label_files(folders)
    if not files:
        raise UserError(f"{', '.join(folders)}: no label files (.txt). Name the folder that holds the folder labels.")
    classes = _Classes(_names(folders, collector))
    known: set[str] = set()
    for path, name in tracked(files, "Label files"):
        places = reversed(name.lower().split("/")[:-1])
        subset = next((subset_name(part) for part in places if part in _SUBSETS), None)
        stem = _picture_stem(name)
        file = pictures.find(stem, subset)
        if file is None:
            collector.skip("label files without a picture", f"{path} ({pictures.why_missing(stem, subset)})")
            continue
        known.add(os.path.abspath(file))
        height, width = pictures.size(stem, subset)
        suffix = os.path.splitext(file)[1]
        suffix = "" if stem.endswith(suffix) else suffix
        group = name.rpartition("/")[2].partition(".rf.")[0] if ".rf." in name else None
        image = collector.image(stem + suffix, height, width, path, subset, group)
        add_parts(collector, image, _parts(collector, path, classes, image))
    classes.tell(collector)
    _count_unlabelled(collector, known)
    return collector.result(", ".join(paths), "Sizes are those of the pictures: say where they are by --images DIR.")


class _Classes:
    """Classes by number: those of a data.yaml, and for numbers that it does not name class_<number>.

    names: None where nothing names them.
    """

    def __init__(self, names: list[str] | None) -> None:
        self.names, self.unnamed = names, Counter[int]()

    def of(self, number: int) -> str:
        """The name of a class."""
        if self.names is not None and number < len(self.names):
            return self.names[number]
        self.unnamed[number] += 1
        return f"class_{number}"

    def tell(self, collector: Collector) -> None:
        """Put the classes without a name in order of their numbers, and warn of them where others have one."""
        unnamed = [f"class_{number}" for number in sorted(self.unnamed)]
        named = [name for name in collector.class_names if name not in unnamed or name in (self.names or ())]
        found = collector.class_names
        collector.class_names = dict.fromkeys([*named, *(name for name in unnamed if name in found)])
        for number in sorted(self.unnamed) if self.names is not None else ():
            lines = counted(self.unnamed[number], "lines")
            collector.warn(
                f"the named classes end with {len(self.names or ()) - 1}; class {number} ({lines}) is read as class_{number}. "
                f"Name it in data.yaml, or: --rename 'class_{number}=NAME'"
            )


def _folders(paths: list[str]) -> list[str]:
    """The folders, and in place of a data.yaml the one that it lies in."""
    return [os.path.dirname(path) or "." if path.lower().endswith((".yaml", ".yml")) else path for path in paths]


def _label_files(folders: list[str]) -> list[tuple[str, str]]:
    """(path, relative name) of the label files: those in folders named labels, where there is one, otherwise all."""
    files = [(path, name) for path, name in files_below(folders, ".txt") if _is_label_file(name)]
    return [file for file in files if _in_labels(file[1])] or files


def _is_label_file(name: str) -> bool:
    other = _OTHER_IN_LABELS if _in_labels(name) else _OTHER_TEXTS
    return name.lower().endswith(".txt") and not other.match(name.rpartition("/")[2])


def _in_labels(path: str) -> bool:
    return "labels" in path.replace(os.sep, "/").split("/")[:-1]


def _picture_stem(name: str) -> str:
    """labels/train/a.txt -> images/train/a, as Ultralytics does; a name without a folder labels keeps its own."""
    folders = name.removesuffix(".txt").split("/")
    if "labels" in folders[:-1]:
        last = len(folders) - 2 - folders[-2::-1].index("labels")
        folders[last] = "images"
    return "/".join(folders)


def _start(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read(256)


def _parts(collector: Collector, path: str, classes: _Classes, image: LabelledImage) -> Iterator[Part]:
    if start := _start(path).strip():
        check_start(path, start)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}: line {number}"
            if line.strip():
                with left_out(collector, where, image):
                    yield _part(line.split(), classes, image.height, image.width, where)


def _part(words: list[str], classes: _Classes, height: int, width: int, where: str) -> Part:
    try:
        label, *values = [float(word) for word in words]
    except ValueError:
        raise Unusable("lines that are not numbers") from None
    if not math.isfinite(label) or label != int(label) or label < 0:
        raise Unusable("lines whose class is no whole number")
    if len(values) in (4, 5):
        raise Unusable("boxes without a mask")
    # `yolo predict save_txt save_conf` puts the score at the end.
    score = values.pop() if len(values) % 2 else None
    if any(not -_OUTSIDE <= value <= 1 + _OUTSIDE for value in values):
        raise Spoiling("polygons not in parts of the picture's size (0 to 1)")
    polygon = [value * (height if i % 2 else width) for i, value in enumerate(values)]
    name = classes.of(int(label))
    if name.lower() in NO_CLASS:
        raise NoObject(f"objects named {name}")
    return Part(name, polygon_mask([polygon], height, width), where, polygons=[polygon], score=score)


def _count_unlabelled(collector: Collector, known: set[str]) -> None:
    pictures = collector.pictures
    for name in pictures.all():
        path = os.path.join(pictures.folder or "", *name.split("/"))
        if os.path.abspath(path) not in known:
            collector.skip("pictures without a label file (an empty one means: nothing on it)", path)


def _has_names(path: str) -> bool:
    try:
        return _yaml_names(path) is not None
    except UserError:
        return False


def _yaml_names(path: str) -> list[str] | None:
    """`names` of a data.yaml, a list or {number: name}; None where it has none. Raises: UserError where it is no YAML."""
    if os.path.getsize(path) > _MOST_YAML:
        return None
    try:
        # All values as text: a class may be called no, off, or 1.
        content: Any = yaml.load(read_text(path), yaml.BaseLoader)
    except (yaml.YAMLError, RecursionError) as fault:
        raise UserError(f"{path}: not YAML ({str(fault).splitlines()[0]}).") from None
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        numbers = {int(key): value for key, value in names.items() if _NUMBER.fullmatch(str(key))}
        names = [numbers.get(number, f"class_{number}") for number in range(max(numbers, default=-1) + 1)]
    # An alias of an alias of … as a name would be text without end.
    return names if isinstance(names, list) and names and all(isinstance(name, str) for name in names) else None


def _names(folders: list[str], collector: Collector) -> list[str] | None:
    """Class names of the data.yaml, or of classes.txt or obj.names; None where nothing names them."""
    names = None
    for path, _ in [*files_below(folders, ".yaml"), *files_below(folders, ".yml")]:
        names = names or _yaml_names(path)
    for path, _ in [*files_below(folders, "classes.txt"), *files_below(folders, "obj.names")] if names is None else ():
        names = names or [line.strip() for line in read_text(path).splitlines() if line.strip()]
    if names is None:
        collector.note("no data.yaml or classes.txt names the classes: they are called class_0, class_1 … after their numbers")
        return None
    for name, number in Counter(names).items():
        if number > 1:
            numbers = " and ".join(str(place) for place, own in enumerate(names) if own == name)
            collector.warn(f"{folders[0]}: the classes {numbers} are all called {name}: read as one. Name them apart")
    for name in names:
        if name.lower() not in NO_CLASS:
            collector.add_class(name, folders[0])
    return names
