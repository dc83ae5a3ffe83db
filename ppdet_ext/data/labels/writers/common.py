"""What all writers of label tools' files share: options, the account of what was written, and places for files."""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ppdet_ext.data.formats.submission_format import Format
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.structures import Rle

from ..label_set import LabelledImage, LabelledObject, LabelSet

OUT = "--out"
logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class WriteOptions:
    """What some of the writers can be told.

    class_ids: ids in COCO and Kaggle files, by class; None counts from 1.
    image_prefix: before a picture's name in Label Studio's tasks; the default is its local file storage.
    model_version: of Label Studio's predictions.
    form: of Kaggle's table.
    overwrite: whether files that are there are replaced; they may hold somebody's corrections.
    setting: what a user changes to have files written elsewhere; for messages.
    """

    class_ids: Sequence[int] | None = None
    image_prefix: str = "/data/local-files/?d="
    model_version: str = "ppdet_ext"
    form: Format | None = None
    overwrite: bool = True
    setting: str = OUT

    def ids_of(self, labels: LabelSet) -> list[int]:
        """The id of each class."""
        return list(self.class_ids) if self.class_ids is not None else list(range(1, len(labels.class_names) + 1))


DEFAULTS = WriteOptions()


@dataclass
class Written:
    """What a writer has made.

    options: of the writer.
    files: in the order of writing.
    objects: how many are in them.
    lost: what the format cannot hold, plural first, and how many: "crowds", "empty masks".
    changed: what is in the files in another form, as `lost`.
    pictures: of an image's name, where the tool wants the picture; empty where it does not matter.
    """

    options: WriteOptions = DEFAULTS
    files: list[Path] = field(default_factory=list)
    objects: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    changed: Counter[str] = field(default_factory=Counter)
    pictures: dict[str, Path] = field(default_factory=dict)

    def text(self, path: Path, content: str) -> None:
        """Write a file, in UTF-8, and note it. Raises: UserError as `write`, and for what is not UTF-8."""
        try:
            data = content.encode()
        except UnicodeEncodeError as fault:
            part = content[max(0, fault.start - 20) : fault.end + 20]
            raise UserError(f"{part!a} is not UTF-8, which {path.name} is written in. Rename the picture or class.") from None
        self.write(path, lambda aside: aside.write_bytes(data))

    def json(self, path: Path, content: Any, indent: int | None = None) -> None:
        """Write a JSON file, and note it. Raises: UserError as `write`."""
        separators = (",", ":") if indent is None else None
        self.text(path, json.dumps(content, separators=separators, indent=indent))

    def write(self, path: Path, fill: Callable[[Path], object]) -> None:
        """Let `fill` write a file, and note it. Raises: UserError where it cannot be written, or is there and may not go."""
        if not self.options.overwrite and path.exists():
            raise UserError(f"{path} is there already, and may have been corrected since. --overwrite replaces it.")
        write_atomic(path, fill, self.options.setting, durable=False)
        self.files.append(path)

    def log(self, out: Path) -> None:
        """Say what was written to the folder `out`, and warn of what was lost."""
        logger.info("Wrote %s in %s of %s", counted(self.objects, "objects"), counted(len(self.files), "files"), out)
        for title, found in (("Not in it", self.lost), ("In another form", self.changed)):
            if texts := [counted(number, reason) for reason, number in found.items() if number]:
                logger.warning("%s (%s): %s", title, out, ", ".join(texts))

    def kept(self, image: LabelledImage) -> list[LabelledObject]:
        """The objects of an image that a format without crowds holds; others count as lost, these as written."""
        crowds = [own for own in image.objects if own.crowd]
        kept = [own for own in image.objects if not own.crowd and own.mask]
        self.lost.update({"crowds": len(crowds), "empty masks": len(image.objects) - len(crowds) - len(kept)})
        self.objects += len(kept)
        return kept


def drawn_polygon(own: LabelledObject, digits: int | None = None) -> np.ndarray | None:
    """The polygon (n, 2) of an object that was drawn as one, if, rounded so, it still gives the object's pixels; else None."""
    if own.polygons is None or len(own.polygons) != 1:
        return None
    flat = np.asarray(own.polygons[0], np.float64)
    flat = flat if digits is None else flat.round(digits)
    try:
        same = Rle.from_polygons([flat.tolist()], *own.mask.size) == own.mask
    except UserError:
        same = False
    return flat.reshape(-1, 2) if same else None


def places(labels: LabelSet, suffix: str) -> dict[str, str]:
    """Image name -> relative path of its own file: the name with another suffix, or behind its own where two would meet."""
    stems = Counter(str(PurePosixPath(image.name).with_suffix("")).casefold() for image in labels.images)
    found = {}
    for image in labels.images:
        stem = str(PurePosixPath(image.name).with_suffix(""))
        found[image.name] = (stem if stems[stem.casefold()] == 1 else image.name) + suffix
    return found


def inside(out: Path, place: str) -> Path:
    """`out` / `place`. RuntimeError where that leads out of it, which names of a `LabelSet` do not."""
    if os.path.isabs(place) or ".." in PurePosixPath(place).parts:
        raise RuntimeError(f"{place} leads out of {out}")
    return out / place
