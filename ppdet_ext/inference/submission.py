"""Kaggle submission files from COCO-style mask results.

Kaggle's Severstal contest knew two formats. In both we give every image one row per class, blank where
nothing was found: the score (mean Dice over image and class, 1 when both are empty) asks about each pair.

    style "imageid_classid" (stage 1):  ImageId_ClassId,EncodedPixels       004f40c73.jpg_1,29102 12 29346 24
    style "classid" (stage 2):          ImageId,EncodedPixels,ClassId       004f40c73.jpg,29102 12 29346 24,1

Stage 2 orders its columns unlike the training file (`ImageId,ClassId,EncodedPixels`); we keep its order. Its
sample file has one dummy row per image, of class 0, and leaves open how to say "none"; we leave the mask
blank.
"""

import csv
import io
import json
import logging
import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from ppdet_ext.errors import UserError
from ppdet_ext.files import write_atomically
from ppdet_ext.structures import Rle

STYLES = {
    "imageid_classid": ("ImageId_ClassId", "EncodedPixels"),
    "classid": ("ImageId", "EncodedPixels", "ClassId"),
}
Masks = dict[tuple[str, int], Rle]

logger = logging.getLogger("ppdet_ext")


def write_kaggle_submission(
    results: Sequence[dict] | str | Path,
    image_names: Mapping[int, str],
    num_classes: int,
    out_path: str | Path,
    *,
    style: str = "imageid_classid",
    score_threshold: float = 0.5,
) -> int:
    """Write the submission of all images in `image_names` (id -> file name); returns its row count.

    results: COCO segm results ({image_id, category_id 1…num_classes, segmentation: RLE, score}), or the path
    of their JSON file, as `mask.json` of the evaluation. Instances of one class of one image that score
    `score_threshold` or more are merged. The text is parsed back and compared before it is written, aside and
    then renamed. Raises UserError for bad input.
    """
    if style not in STYLES:
        raise UserError(f"submission style {style!r} is unknown; choose one of {', '.join(STYLES)}")
    source, entries = _load(results)
    masks = merge_results(entries, image_names, num_classes, score_threshold, source)
    pairs = [(name, class_id) for name in image_names.values() for class_id in range(1, num_classes + 1)]
    if len(set(pairs)) < len(pairs):
        raise UserError("two images of one name: a submission tells images apart by their file names")
    text = _format(pairs, masks, style)
    _check(text, pairs, masks, style)
    out_path = Path(out_path)
    try:
        out_path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(out_path, text.encode())
    except OSError as error:
        raise UserError(f"cannot write the submission {out_path}: {error.strerror or error}") from error
    logger.info("%s: %d rows for %d images, %d masks", out_path, len(pairs), len(image_names), len(masks))
    return len(pairs)


def _load(results: Sequence[dict] | str | Path) -> tuple[str, Sequence[dict]]:
    """(name for messages, result dicts)."""
    if not isinstance(results, (str, Path)):
        return "results", results
    try:
        entries = json.loads(Path(results).read_text())
    except OSError as error:
        raise UserError(f"cannot read {results}: {error.strerror}; make it with --save_results") from error
    except ValueError as error:
        raise UserError(f"{results} is no complete JSON ({error}); make it again") from error
    if not isinstance(entries, list):
        raise UserError(f"{results} holds a {type(entries).__name__}, not a list of COCO results")
    return str(results), entries


def merge_results(
    entries: Sequence[dict],
    image_names: Mapping[int, str],
    num_classes: int,
    score_threshold: float,
    source: str = "results",
) -> Masks:
    """(image name, class id) -> union of the instances that score enough; pairs without any are left out.

    Raises UserError naming `source`, the entry's number and its fault: unknown image or class, no mask, bad
    score, masks of one image that differ in size.
    """
    groups: dict[tuple[str, int], list[Rle]] = defaultdict(list)
    sizes: dict[str, tuple[int, int]] = {}
    for number, entry in enumerate(entries):
        try:
            name, class_id, score, mask = _parse(entry, image_names, num_classes)
            if sizes.setdefault(name, mask.size) != mask.size:
                raise UserError(f"mask of {mask.size}, others of {name} have {sizes[name]}")
        except UserError as error:
            raise UserError(f"{source}, entry {number}: {error}") from None
        if score >= score_threshold and mask:
            groups[name, class_id].append(mask)
    return {pair: Rle.merge(instances) for pair, instances in groups.items()}


def _parse(entry: dict, image_names: Mapping[int, str], num_classes: int) -> tuple[str, int, float, Rle]:
    """(image name, class id, score, mask) of one COCO result; UserError for what is wrong with it."""
    try:
        image_id, class_id, score = entry["image_id"], entry["category_id"], float(entry["score"])
        coded = entry["segmentation"]
    except (KeyError, TypeError, ValueError) as error:
        raise UserError(f"no COCO result with image_id, category_id, segmentation, score ({error!r})") from None
    if image_id not in image_names:
        raise UserError(f"image_id {image_id!r} is not one of the {len(image_names)} images of this data set")
    if isinstance(class_id, bool) or class_id not in range(1, num_classes + 1):
        raise UserError(f"category_id {class_id!r} is not one of the classes 1 to {num_classes}")
    if not math.isfinite(score):
        raise UserError(f"score {score} is not a number")
    return image_names[image_id], int(class_id), score, Rle.from_coco(coded)


def _format(pairs: Sequence[tuple[str, int]], masks: Masks, style: str) -> str:
    """The CSV text, header first."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(STYLES[style])
    for name, class_id in pairs:
        text = masks[name, class_id].to_kaggle() if (name, class_id) in masks else ""
        writer.writerow((f"{name}_{class_id}", text) if style == "imageid_classid" else (name, text, class_id))
    return stream.getvalue()


def read_submission(text: str, style: str) -> dict[tuple[str, int], str]:
    """(image name, class id) -> Kaggle RLE, '' where blank, of a submission's CSV text."""
    # A large mask is longer than the 128 KiB that csv takes for a field.
    csv.field_size_limit(2**31 - 1)
    rows = csv.DictReader(io.StringIO(text))
    if style == "imageid_classid":
        keyed = ((row["ImageId_ClassId"].rpartition("_"), row["EncodedPixels"]) for row in rows)
        return {(name, int(class_id)): rle for (name, _, class_id), rle in keyed}
    return {(row["ImageId"], int(row["ClassId"])): row["EncodedPixels"] for row in rows}


def _check(text: str, pairs: Sequence[tuple[str, int]], masks: Masks, style: str) -> None:
    """Read the text back: every pair once, every mask exact. A failure is our fault, so no UserError."""
    found = read_submission(text, style)
    if list(found) != list(pairs):
        raise RuntimeError(f"the submission reads back as {len(found)} rows, not {len(pairs)}")
    for pair, rle in found.items():
        mask = masks.get(pair)
        if Rle.from_kaggle(rle, *mask.size) != mask if mask else rle:
            raise RuntimeError(f"the mask of {pair} does not survive the round trip")
