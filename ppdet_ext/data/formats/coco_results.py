"""Instances from COCO results: `mask.json` of infer.py and eval.py."""

import json
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle

from .table import NamedDetections


class _Entry(NamedTuple):
    label: int
    score: float
    mask: Rle
    attributes: tuple[int, ...]


def images_of_results(
    results: Sequence[dict] | str | Path, image_names: Mapping[int, str], class_ids: Sequence[int], threshold: float
) -> list[NamedDetections]:
    """Name and what counts of each image, in the order of `image_names`. The size of an image with nothing is not known: 0, 0.

    Args:
        results: COCO segm results {image_id, category_id, segmentation: RLE, score} and, if known, attributes: [ids]; or the
            path of their JSON file.
        image_names: file name by image id, of all images.
        class_ids: by label.
        threshold: lowest score that counts.

    Raises:
        UserError: naming the file, the entry and its fault: unknown image or class, no mask, bad score, masks of one image that
            differ in size.
    """
    source, entries = _load(results)
    found: dict[int, list[_Entry]] = {image_id: [] for image_id in image_names}
    sizes: dict[int, tuple[int, int]] = {}
    for number, entry in enumerate(entries):
        try:
            image_id, own = _parse(entry, image_names, class_ids)
            size = own.mask.size
            if sizes.setdefault(image_id, size) != size:
                raise UserError(f"mask of {size}, others of {image_names[image_id]} have {sizes[image_id]}")
        except UserError as error:
            raise UserError(f"{source}, entry {number}: {error}") from None
        if own.score >= threshold and own.mask:
            found[image_id].append(own)
    return [(name, _joined(found[image_id], sizes.get(image_id, (0, 0)))) for image_id, name in image_names.items()]


def _joined(entries: Sequence[_Entry], size: tuple[int, int]) -> Detections:
    labels, scores, masks, attributes = zip(*entries) if entries else ((), (), (), ())
    return Detections.of_masks(*size, masks, labels, scores, attributes)


def _load(results: Sequence[dict] | str | Path) -> tuple[str, Sequence[dict]]:
    """(name for messages, result dicts)."""
    if not isinstance(results, str | Path):
        return "results", results
    try:
        entries = json.loads(Path(results).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"cannot read {results}: {error.strerror}; make it with --save_results") from error
    except ValueError as error:
        raise UserError(f"{results} is no complete JSON ({error}); make it again") from error
    if not isinstance(entries, list):
        raise UserError(f"{results} holds a {type(entries).__name__}, not a list of COCO results")
    return str(results), entries


def _parse(entry: dict, image_names: Mapping[int, str], class_ids: Sequence[int]) -> tuple[int, _Entry]:
    """(image id, its object) of one COCO result; UserError for what is wrong with it."""
    try:
        image_id, class_id, score = entry["image_id"], entry["category_id"], float(entry["score"])
        coded, attributes = entry["segmentation"], tuple(map(int, entry.get("attributes") or ()))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"no COCO result with image_id, category_id, segmentation, score ({error!r})") from None
    try:
        known = image_id in image_names
    except TypeError:
        known = False
    if not known:
        raise UserError(f"image_id {image_id!r} is not one of the {len(image_names)} images of this data set")
    if type(class_id) is not int or class_id not in class_ids:
        raise UserError(f"category_id {class_id!r} is not one of the classes {_listed(class_ids)}")
    if not math.isfinite(score):
        raise UserError(f"score {score} is not a number")
    return image_id, _Entry(class_ids.index(class_id), score, Rle.from_coco(coded), attributes)


def _listed(ids: Collection[int]) -> str:
    ordered = sorted(ids)
    if ordered == list(range(ordered[0], ordered[-1] + 1)) and len(ordered) > 2:
        return f"{ordered[0]} to {ordered[-1]}"
    return ", ".join(map(str, ordered))
