"""Where the page's pictures come from: data sets with their annotations, saved predictions, folders."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ppdet_ext.data.formats.result_files import IMAGES_FILE
from ppdet_ext.data.images.check import pictures_in
from ppdet_ext.data.images.decode import image_size, read_image_of
from ppdet_ext.data.images.depth import Reading
from ppdet_ext.data.splits.selection import read_split_file
from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.structures import Detections, Record

from .catalogue import Item

DROPPED, FOLDER = "dropped", "folder"
MOST_PIXELS = 100_000_000  # of a picture that is dropped: 300 MB when it is decoded
_KINDS = {b"\xff\xd8\xff": ".jpg", b"\x89PNG": ".png", b"BM": ".bmp", b"RIFF": ".webp", b"II*\0": ".tif", b"MM\0*": ".tif"}
logger = logging.getLogger("ppdet_ext")


def items_of_dataset(dataset: Any, part: str) -> list[Item]:
    """The pictures of a data set that is read; with `fold k` as their part where its split file deals them out.

    Where it has no annotations, nothing is said of what is in the pictures.
    """
    folds = _folds(dataset)
    return [
        Item(
            record.name,
            record.file,
            record.height,
            record.width,
            f"fold {folds[record.name]}" if record.name in folds else part,
            record if dataset.annotated else None,
            im_id=record.im_id,
        )
        for record in dataset.records
    ]


def _folds(dataset: Any) -> Mapping[str, int]:
    split = getattr(dataset, "split", None)
    if not split:
        return {}
    path = split if os.path.isabs(split) else os.path.join(getattr(dataset, "dataset_dir", ""), split)
    names = {record.name for record in dataset.records}
    return read_split_file(path, names).folds or {}


def items_of_folder(folder: Path, part: str = FOLDER, exif: bool = True) -> list[Item]:
    """The pictures of a folder, or one picture. Raises: UserError for none, or one that cannot be read."""
    if not folder.exists():
        raise UserError(f"{folder}: no such picture or folder.")
    files = [str(folder)] if folder.is_file() else pictures_in(str(folder))
    return [Item(os.path.basename(file), file, *image_size(file, exif), part) for file in files]


def give_results(items: Sequence[Item], path: Path, class_names: Sequence[str], class_ids: Sequence[int]) -> int:
    """Give pictures the predictions of COCO results, of this program or any other; returns how many pictures these are of.

    Where a folder has `images.json`, images are told by name, and a picture that it does not list has no prediction. Else they
    are told by the numbers of one data set, and a picture without any result is one in which nothing was found.

    Raises: UserError for files that are missing, damaged, or of other images.
    """
    # It imports paddle, which exported models do without.
    from ppdet_ext.report.results import Truth, read_results
    from ppdet_ext.submission.saved import saved_names

    listed = set(saved_names(path).values()) if (path / IMAGES_FILE).is_file() else None
    numbers = [item.im_id for item in items] if listed is None else list(range(len(items)))
    if len(set(numbers)) < len(numbers):
        raise UserError(f"--results {path} has no {IMAGES_FILE}: its image ids are those of one data set. Choose one --part.")
    records = [Record(number, item.file, item.name, *item.size) for number, item in zip(numbers, items)]
    found = read_results(path, Truth(records, class_names, class_ids))
    for number, item in zip(numbers, items):
        if number in found or listed is None or item.name in listed:
            item.found = found.get(number, Detections.empty(*item.size))
    return sum(item.found is not None for item in items)


def keep_dropped(folder: Path, name: str, content: bytes, reading: Reading) -> Item:
    """Write a picture that somebody has dropped on the page into `folder`, named by its content.

    Args:
        name: as the browser gave it; its last part is shown, and says nothing about where it is written.
        reading: how it is to be read; it is decoded, so that what is no picture is said now.

    Raises: UserError for what is no picture, is damaged or too large, or cannot be written.
    """
    suffix = next((own for mark, own in _KINDS.items() if content.startswith(mark)), None)
    if suffix is None:
        raise UserError(f"{shown_name(name)} is no picture: JPEG, PNG, BMP, WebP and TIFF are.")
    key = hashlib.sha256(content).hexdigest()[:16]
    file = folder / f"{key}{suffix}"
    if not file.exists():
        write_atomic(file, lambda aside: aside.write_bytes(content), "--output_dir", durable=False)
    try:
        height, width = image_size(str(file), reading.exif)
        if height * width > MOST_PIXELS:
            raise UserError(f"it has {width}x{height} pixels; {MOST_PIXELS // 1_000_000} million are the most here.")
        read_image_of(str(file), (height, width), reading)
    except UserError as error:
        file.unlink(missing_ok=True)
        raise UserError(f"{shown_name(name)}: {str(error).removeprefix(f'{file}: ')}") from None
    note = folder / f"{key}.json"
    if not note.exists():
        # Decisions go by the name that it came with first.
        own = json.dumps({"name": shown_name(name), "file": file.name})
        write_atomic(note, lambda aside: aside.write_text(own, encoding="ascii"), "--output_dir", durable=False)
    return Item(f"{DROPPED}/{shown_name(name)}", str(file), height, width, DROPPED)


def dropped_before(folder: Path, exif: bool = True) -> list[Item]:
    """What `keep_dropped` has kept in `folder`, oldest first; what is damaged is passed over."""
    items = []
    for note in sorted(folder.glob("*.json"), key=lambda path: path.stat().st_mtime_ns):
        try:
            own = json.loads(note.read_text(encoding="ascii"))
            name, file = shown_name(own["name"]), folder / Path(own["file"]).name
            items.append(Item(f"{DROPPED}/{name}", str(file), *image_size(str(file), exif), DROPPED))
        except (OSError, ValueError, KeyError, TypeError) as error:
            logger.warning("%s: passed over (%s)", note, error)
    return items


def shown_name(name: str) -> str:
    """A file name from outside, for showing: its last part, in one line, without control characters, not too long."""
    last = re.split(r"[/\\]", name)[-1]
    plain = "".join(sign if sign.isprintable() else "_" for sign in last).strip()
    return plain[:150] if plain.strip(".") else "picture"
