"""Files of label tools, written: one module for each tool, whose `write` takes a `LabelSet` and a folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..label_set import LabelSet
from . import coco, cvat, kaggle, label_studio, labelme, masks, yolo_seg
from .common import WriteOptions, Written

Writer = Callable[[LabelSet, Path, WriteOptions], Written]

WRITERS: dict[str, Writer] = {
    "coco": coco.write,
    "cvat": cvat.write,
    "label_studio": label_studio.write,
    "labelme": labelme.write,
    "yolo_seg": yolo_seg.write,
    "kaggle": kaggle.write,
    "masks": masks.write,
}

__all__ = ["WRITERS", "WriteOptions", "Writer", "Written"]
