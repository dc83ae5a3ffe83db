"""`FORMATS`: the label tools whose files are read and written, and `read_labels`. Readers are imported when they are needed."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ppdet_ext.config.plugins import entry_points
from ppdet_ext.errors import UserError, counted, nearest, paths_of

from .label_format import LabelFormat

if TYPE_CHECKING:
    from .label_set import LabelSet


# Detection asks in this order, so what is like another but has more comes first.
_ALL: tuple[LabelFormat, ...] = (
    LabelFormat("coco", "COCO", "coco", "coco"),
    LabelFormat("coco_panoptic", "COCO panoptic", "coco_panoptic"),
    LabelFormat("cvat", "CVAT for images", "cvat", "cvat"),
    LabelFormat("label_studio", "Label Studio", "label_studio", "label_studio"),
    LabelFormat("darwin", "V7 Darwin", "darwin"),
    LabelFormat("segment_anything", "Segment Anything", "segment_anything"),
    LabelFormat("labelme", "labelme", "labelme", "labelme"),
    LabelFormat("labelme_xml", "MIT LabelMe", "labelme_xml"),
    LabelFormat("superannotate", "SuperAnnotate", "superannotate"),
    LabelFormat("datumaro", "Datumaro", "datumaro"),
    LabelFormat("open_images", "Open Images", "open_images"),
    LabelFormat("via", "VGG Image Annotator", "via"),
    LabelFormat("supervisely", "Supervisely", "supervisely"),
    LabelFormat("yolo_seg", "YOLO's polygons", "yolo_seg", "yolo_seg"),
    LabelFormat("cityscapes", "Cityscapes", "cityscapes"),
    LabelFormat("voc_masks", "Pascal VOC's mask PNGs", "voc_masks", "masks"),
)
FORMATS: dict[str, LabelFormat] = {format.name: format for format in _ALL}


# Entry points of installed packages: name of the format -> module with `looks_like` and `read`, as those in `readers/`.
GROUP = "ppdet_ext.labels"


def all_formats() -> dict[str, LabelFormat]:
    """By name, ours and then those of installed packages."""
    brought = {one.name: LabelFormat(one.name, one.name, one.value, own=True) for one in entry_points(tuple(sys.path), GROUP)}
    return FORMATS | {name: own for name, own in brought.items() if name not in FORMATS}


def format_of(name: str) -> LabelFormat:
    """The format of a name, or of a Python file with a reader. Raises: UserError with the nearest one."""
    if name.endswith(".py"):
        return LabelFormat(Path(name).stem, name, str(Path(name).resolve()), own=True)
    known = all_formats()
    if name not in known:
        raise UserError(f"no format of labels is called {name!r}.{nearest(name, known)} There are {', '.join(known)}.")
    return known[name]


def read_labels(
    paths: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    images: str | os.PathLike[str] | None = None,
    format: str = "auto",
    on_error: str = "error",
) -> LabelSet:
    """What files or folders of one label tool say.

    Args:
        paths: files, or folders as the tool exports them; one, or a list.
        images: folder of the pictures; by default they are looked for beside the labels.
        format: key of `FORMATS`, or "auto": told by content. Or a Python file with `looks_like` and `read` of one's own.
        on_error: "error", or "skip" to leave damaged JSON and XML files out, and count them, where each picture has its own.

    Raises: UserError naming the file and its fault, or what is not known.
    """
    from .detect import chosen_paths, folder_of
    from .pictures import Pictures

    paths = paths_of(paths, "paths")
    chosen = None if format == "auto" else format_of(format)
    known = all_formats() | ({} if chosen is None else {chosen.name: chosen})
    try:
        broken: dict[str, str] | None = {} if on_error == "skip" else None
        found, files, notes = chosen_paths(paths, chosen, known, broken)
        folder, below = folder_of(paths)
        pictures = Pictures(folder, below) if images is None else Pictures(os.fspath(images))
        labels = found.read(files, pictures)
    except MemoryError:
        raise UserError(f"{', '.join(paths)}: needs more memory than is free. Export in parts, and import each.") from None
    labels.notes[:0] = notes
    if broken:
        labels.skipped["label files that cannot be read"] = len(broken)
        shown = "; ".join(list(broken.values())[:3]) + ("; …" if len(broken) > 3 else "")
        labels.notes.append(f"{counted(len(broken), 'label files')} left out: {shown}")
        # Nobody knows what their pictures show.
        own = (pictures.find(Path(file).stem) for file in broken)
        labels.lost += [file for file in own if file is not None]
    return labels
