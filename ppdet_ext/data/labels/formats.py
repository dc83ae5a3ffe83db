"""`FORMATS`: the label tools whose files are read and written, and `read_labels`. Readers are imported when they are needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ppdet_ext.errors import UserError, nearest

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


def format_of(name: str) -> LabelFormat:
    """The format of a name. Raises: UserError with the nearest one."""
    if name not in FORMATS:
        raise UserError(f"no format of labels is called {name!r}.{nearest(name, FORMATS)} There are {', '.join(FORMATS)}.")
    return FORMATS[name]


def read_labels(paths: Sequence[str], images: str | None = None, format: str = "auto") -> LabelSet:
    """What files or folders of one label tool say.

    Args:
        paths: files, or folders as the tool exports them.
        images: folder of the pictures; by default they are looked for beside the labels.
        format: key of `FORMATS`, or "auto": told by content.

    Raises: UserError naming the file and its fault, or what is not known.
    """
    from .detect import chosen_paths, folder_of
    from .pictures import Pictures

    try:
        found, files, notes = chosen_paths(paths, None if format == "auto" else format_of(format), FORMATS)
        folder, below = folder_of(paths)
        labels = found.read(files, Pictures(folder, below) if images is None else Pictures(images))
    except MemoryError:
        raise UserError(f"{', '.join(paths)}: needs more memory than is free. Export in parts, and import each.") from None
    labels.notes[:0] = notes
    return labels
