"""Detections from files of COCO results, of this program (`bbox.json`, `mask.json`) or any other."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.data.formats.result_files import BOX_FILE, IMAGES_FILE, MASK_FILE
from ppdet_ext.errors import UserError, counted
from ppdet_ext.evaluation.coco_inputs import checked_results
from ppdet_ext.structures import Detections, Record, Rle
from ppdet_ext.submission.saved import saved_ids, saved_names

# As mmdetection and detectron2 name them.
_MASKS, _BOXES = (MASK_FILE, "*.segm.json", "coco_instances_results.json"), (BOX_FILE, "*.bbox.json")
logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class Truth:
    """What was annotated: records, and names and category ids by label."""

    records: Sequence[Record]
    class_names: Sequence[str]
    category_ids: Sequence[int]


def read_results(path: Path, truth: Truth) -> dict[int, Detections]:
    """Detections by image id, from a folder or a file.

    Of a folder `mask.json` and `bbox.json` are taken, or what mmdetection and detectron2 call them; boxes of objects with masks
    are those of `bbox.json`, where it has the same objects in the same order, else those of the masks. Where the folder has
    `images.json`, as of infer.py --save_results, images are matched by name, and by `origin.json` classes.

    Raises: UserError naming file and row: an image or a class that the data set has not, a score that is no number, a mask that
        is none or of another size than the image.
    """
    files = [path] if path.is_file() else [file for file in (_one(path, _MASKS), _one(path, _BOXES)) if file]
    if not files:
        raise UserError(f"{path} has no results: a folder with {MASK_FILE} or {BOX_FILE}, or a JSON file of COCO results.")
    ids = saved_ids(path, truth.class_names, truth.category_ids) if path.is_dir() else list(truth.category_ids)
    images = _images(path, truth.records)
    lists = [(file, _rows(file, images, ids)) for file in files]
    masks = next(((file, rows) for file, rows in lists if rows and "segmentation" in rows[0]), None)
    boxes = next(((file, rows) for file, rows in lists if rows and "segmentation" not in rows[0]), None)
    sizes = {record.im_id: (record.height, record.width) for record in truth.records}
    if masks is None:
        if boxes is None:
            logger.warning("%s holds no detection", " and ".join(map(str, files)))
            return {}
        return _detections(None, _checked(*boxes, sizes, "bbox"), ids, sizes)
    return _detections(_checked(*masks, sizes, "segm"), _boxes(masks, boxes, sizes), ids, sizes)


def _one(folder: Path, patterns: Sequence[str]) -> Path | None:
    """The file of a folder that the first fitting pattern names. Raises: UserError where that are several."""
    for pattern in patterns:
        found = sorted(folder.glob(pattern)) if folder.is_dir() else []
        if len(found) > 1:
            raise UserError(f"{folder} has {counted(len(found), 'files')} {pattern}; name the one that is meant.")
        if found:
            return found[0]
    return None


def _images(path: Path, records: Sequence[Record]) -> dict[int, int]:
    """The data set's image id of each id in the results."""
    if not (path / IMAGES_FILE).is_file():
        return {record.im_id: record.im_id for record in records}
    ours = {record.name: record.im_id for record in records}
    names = saved_names(path)
    known = {theirs: ours[name] for theirs, name in names.items() if name in ours}
    if not known:
        raise UserError(f"{path} is of other images than the data set: none of {counted(len(names), 'names')} is in both.")
    if len(known) < len(names):
        logger.warning("%s of %s are not in the data set and left out", counted(len(names) - len(known), "images"), path)
    return {**dict.fromkeys(names, -1), **known}


def _rows(file: Path, images: Mapping[int, int], ids: Sequence[int]) -> list[dict[str, Any]]:
    """The results of a file, with the data set's image ids, without those of images that it has not."""
    try:
        rows = json.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror or error}.") from error
    except ValueError as error:
        raise UserError(f"{file} is no complete JSON ({error}).") from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise UserError(f"{file} is no list of COCO results: {{image_id, category_id, score, bbox or segmentation}}.")
    known, kept = set(ids), []
    for number, row in enumerate(rows, 1):
        image, class_id = row.get("image_id"), row.get("category_id")
        if not isinstance(image, int) or image not in images:
            raise UserError(f"{file}, result {number}: image id {image!r} is not in the data set.")
        if not isinstance(class_id, int) or class_id not in known:
            raise UserError(f"{file}, result {number}: category id {class_id!r} is not of the data set: {_listed(ids)}.")
        if images[image] != -1:
            kept.append({**row, "image_id": images[image]})
    return kept


def _listed(ids: Sequence[int]) -> str:
    shown = sorted(ids)[:12]
    return ", ".join(map(str, shown)) + (", …" if len(ids) > len(shown) else "")


def _checked(file: Path, rows: Sequence[dict[str, Any]], sizes: Mapping[int, tuple[int, int]], kind: str) -> list[dict]:
    try:
        return checked_results(rows, sizes, kind)
    except UserError as fault:
        raise UserError(f"{file}, {fault}") from None


def _boxes(
    masks: tuple[Path, list[dict]], boxes: tuple[Path, list[dict]] | None, sizes: Mapping[int, tuple[int, int]]
) -> list[dict] | None:
    """Boxes of the objects that have masks, in their order; None where only the masks tell."""
    file, rows = masks
    if all("bbox" in row for row in rows):
        return _checked(file, rows, sizes, "bbox")
    if boxes is None:
        return None

    def same(one: dict, other: dict) -> bool:
        return (one["image_id"], one["category_id"]) == (other["image_id"], other["category_id"])

    if len(boxes[1]) == len(rows) and all(map(same, boxes[1], rows)):
        return _checked(*boxes, sizes, "bbox")
    logger.warning("%s has other objects than %s; the boxes are taken of the masks", boxes[0], file)
    return None


def _detections(
    masks: list[dict] | None, boxes: list[dict] | None, ids: Sequence[int], sizes: Mapping[int, tuple[int, int]]
) -> dict[int, Detections]:
    """By image id. masks and boxes: of the same objects, one of them may be missing."""
    rows = masks if masks is not None else boxes or []
    label = {class_id: k for k, class_id in enumerate(ids)}
    by_image: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        by_image.setdefault(row["image_id"], []).append(place)
    found = {}
    for im_id, own in by_image.items():
        drawn = None if masks is None else [_mask(masks[i]["segmentation"]) for i in own]
        if boxes is not None:
            corners = np.array([boxes[i]["bbox"] for i in own], np.float64)
            corners[:, 2:] += corners[:, :2]
        else:
            corners = np.array([mask.box for mask in drawn or []], np.float64)
        scores, labels = np.array([rows[i]["score"] for i in own], np.float64), [label[rows[i]["category_id"]] for i in own]
        found[im_id] = Detections(*sizes[im_id], corners, scores, np.array(labels, np.int64), drawn)
    return found


def _mask(coded: dict[str, Any]) -> Rle:
    """A mask that has been checked."""
    height, width = coded["size"]
    return Rle(height, width, coded["counts"])
