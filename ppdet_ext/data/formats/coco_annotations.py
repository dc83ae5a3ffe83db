"""A COCO JSON: its images and categories, checked, and the annotations of an image as boxes, labels and masks."""

import contextlib
import logging
import math
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np

from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Rle

# A box thinner than this has no pixel to learn from (ppdet leaves out such boxes too).
_MIN_SIDE = 1e-3
_NUMBER = re.compile("-?[0-9]{1,19}")
# What the key `encoding` of a mask may say; the last looks like COCO's run lengths, but goes along the rows.
_COCOS_OWN, _ROW_MAJOR = ("rle", "coco", "coco_rle", "rle-column-major-zero-first"), "rle-row-major-zero-first"

logger = logging.getLogger("ppdet_ext")

_Targets = tuple[np.ndarray, np.ndarray, list[Rle], np.ndarray, np.ndarray]


def number_of(value: Any) -> Any:
    """An id that is written as text, as some tools do, as the number it stands for; anything else as it is."""
    return int(value) if isinstance(value, str) and _NUMBER.fullmatch(value) else value


def checked_images(images: list[dict], problems: Problems) -> list[dict]:
    """The entries by id, without those that lack a key, have no size, or repeat an id; these become problems."""
    checked: dict[int, dict] = {}
    for position, image in enumerate(images):
        if isinstance(image, dict) and isinstance(image.get("id"), str):
            image = {**image, "id": number_of(image["id"])}
        fault = _image_fault(image)
        if fault is not None:
            problems.add("images of the file that cannot be used", f"entry {position} ({_short(image)}): {fault}")
        elif image["id"] in checked:
            problems.add("images listed twice under one id", f"id {image['id']} ({image['file_name']})")
        else:
            checked[image["id"]] = image
    _warn_of_several_ids(checked, problems.source)
    return [checked[number] for number in sorted(checked)]


def _warn_of_several_ids(images: Mapping[int, dict], source: str) -> None:
    ids: dict[str, list[int]] = defaultdict(list)
    for number, image in images.items():
        ids[image["file_name"]].append(number)
    several = [f"{name} ({', '.join(map(str, found))})" for name, found in ids.items() if len(found) > 1]
    if several:
        logger.warning(
            "%s: %s listed under several ids, so that none has all annotations of its picture: %s%s. Merge the entries.",
            source,
            counted(len(several), "file names"),
            "; ".join(several[:10]),
            " …" if len(several) > 10 else "",
        )


def checked_categories(path: str, categories: list[dict]) -> list[tuple[int, str]]:
    """(id, name) of the categories by id. Raises: UserError for one without either, or an id used twice."""
    found: dict[int, str] = {}
    for position, category in enumerate(categories):
        try:
            number, name = int(category["id"]), str(category["name"])
        except (KeyError, TypeError, ValueError):
            raise UserError(f"{path}: entry {position} of categories ({_short(category)}) needs an id and a name.") from None
        if number in found:
            raise UserError(f"{path}: the category id {number} is used twice ({found[number]}, {name}).")
        found[number] = name
    return sorted(found.items())


def _image_fault(image: object) -> str | None:
    if not isinstance(image, dict):
        return "it is no object"
    missing = [key for key in ("id", "file_name", "height", "width") if image.get(key) is None]
    if missing:
        return f"{', '.join(missing)} is missing"
    if not isinstance(image["id"], int) or not isinstance(image["file_name"], str):
        return "id must be a whole number and file_name a text"
    if abs(image["id"]) >= 1 << 63:
        return "id must be below 2^63"
    if not all(isinstance(image[key], int | float) and image[key] >= 1 for key in ("height", "width")):
        return f"height {image['height']!r} and width {image['width']!r} must be positive numbers"
    return None


def _short(entry: object) -> str:
    text = str(entry)
    return text if len(text) <= 80 else text[:77] + "..."


class Annotations:
    """The annotations of one image; `targets` converts them, `degenerate` names what it left out."""

    def __init__(self, problems: Problems, label_of: dict[int, int], boxes_only: bool):
        self.problems, self.label_of, self.boxes_only = problems, label_of, boxes_only
        self.items: list[dict] = []
        self.degenerate: list[str] = []

    def targets(self, height: int, width: int) -> _Targets:
        """Boxes (n, 4) float32 clipped to the image, labels (n,) int64, masks, crowd (n,) bool, areas (n,) float64."""
        boxes, labels, masks, crowd, areas = [], [], [], [], []
        for item in self.items:
            if not item.get("segmentation") and not self.boxes_only:
                self.problems.add(
                    "annotations without a segmentation, while others of the file have one (give them one, or delete them)",
                    f"id {item.get('id')} (image {item['image_id']})",
                )
                continue
            try:
                box = _clipped_box(item, height, width)
                thin = box[2] - box[0] < _MIN_SIDE or box[3] - box[1] < _MIN_SIDE
                mask = Rle.empty(height, width) if thin else self._mask(item, box, height, width)
                area = _area(item, mask)
            except UserError as fault:
                self.problems.add("malformed annotations", f"id {item.get('id')}: {fault}")
                continue
            if not mask:
                self.degenerate.append(f"id {item.get('id')} (image {item['image_id']}, bbox {item['bbox']})")
                continue
            boxes.append(box)
            labels.append(self.label_of[item["category_id"]])
            masks.append(mask)
            crowd.append(bool(item.get("iscrowd", 0)))
            areas.append(area)
        return (
            np.array(boxes, np.float32).reshape(-1, 4),
            np.array(labels, np.int64),
            masks,
            np.array(crowd, bool),
            np.array(areas, np.float64),
        )

    def _mask(self, item: dict, box: tuple[float, float, float, float], height: int, width: int) -> Rle:
        return rectangle(box, height, width) if self.boxes_only else segmentation_mask(item["segmentation"], height, width)


def group_by_image(content: dict, category_ids: list[int], problems: Problems) -> dict[int, Annotations]:
    """Annotations by image id; those of unknown images and categories become problems.

    Where no annotation has a segmentation, the file is one of boxes: these become the masks, which is logged.
    """
    items = content.get("annotations") or []
    boxes_only = bool(items) and not any(item.get("segmentation") for item in items)
    if boxes_only:
        logger.warning(
            "%s: none of the %d annotations has a segmentation; the boxes serve as masks, so mask losses and mask AP of "
            "this data set mean nothing",
            problems.source,
            len(items),
        )
    label_of = {category: label for label, category in enumerate(category_ids)}
    images = {number_of(image.get("id")) for image in content["images"] if isinstance(image, dict)}
    grouped: dict[int, Annotations] = defaultdict(lambda: Annotations(problems, label_of, boxes_only))
    for item in items:
        image, category = number_of(item.get("image_id")), number_of(item.get("category_id"))
        if image not in images:
            problems.add("annotations of an image that is not listed", f"id {item.get('id')} of {image}")
        elif category not in label_of:
            problems.add("annotations of an unknown category", f"id {item.get('id')} of {category}")
        else:
            grouped[image].items.append(item if category == item["category_id"] else {**item, "category_id": category})
    return grouped


def segmentation_mask(segmentation: Any, height: int, width: int) -> Rle:
    """The mask of a COCO segmentation: a list of polygons, or a run-length dict. None or [] is an empty mask.

    Run lengths are COCO's, down the columns, unless their key `encoding` says that they go along the rows.

    Raises: UserError for anything else, and for a run-length mask of another size.
    """
    if not segmentation:
        return Rle.empty(height, width)
    if isinstance(segmentation, list):
        return Rle.from_polygons(segmentation, height, width)
    mask = _run_lengths(segmentation)
    if mask.size != (height, width):
        raise UserError(f"its mask has size {mask.height}x{mask.width}, its image {height}x{width} (height x width)")
    return mask


def _run_lengths(segmentation: Any) -> Rle:
    encoding = segmentation.get("encoding") if isinstance(segmentation, dict) else None
    if encoding is None or str(encoding).lower() in _COCOS_OWN:
        return Rle.from_coco(segmentation)
    if str(encoding).lower() != _ROW_MAJOR:
        raise UserError(f"encoding {str(encoding)[:60]!r} is not known (known: {', '.join((*_COCOS_OWN, _ROW_MAJOR))})")
    try:
        height, width = segmentation["size"]
    except (KeyError, TypeError, ValueError):
        raise UserError(f"size {segmentation.get('size')!r} is not [height, width]") from None
    return Rle.from_coco({**segmentation, "size": [width, height]}).transpose()


def rectangle(box: tuple[float, float, float, float], height: int, width: int) -> Rle:
    """The mask of a box (x1, y1, x2, y2) inside the image: its pixels, at least one."""
    left, top = min(round(box[0]), width - 1), min(round(box[1]), height - 1)
    right, bottom = max(round(box[2]), left + 1), max(round(box[3]), top + 1)
    return Rle.full(bottom - top, right - left).place(top, left, height, width)


def _area(item: dict, mask: Rle) -> float:
    area = item.get("area")
    if area is None:
        return float(mask.area)
    if isinstance(area, str):
        with contextlib.suppress(ValueError):
            area = float(area)
    if not isinstance(area, int | float) or not math.isfinite(area) or area < 0:
        raise UserError(f"area {area!r} is not a number of pixels")
    return float(area)


def _clipped_box(item: dict, height: int, width: int) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = (float(value) for value in item["bbox"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"bbox {item.get('bbox')!r} is not [x, y, width, height]") from None
    return max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
