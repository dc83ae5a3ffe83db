"""A COCO JSON: its images and categories, checked, and the annotations of an image as boxes, labels and masks."""

import contextlib
import logging
import math
import posixpath
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppdet_ext.data.images.raster import MOST_PIXELS
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Rle

from .coco_mended import Annotation, Box
from .coco_segmentation import has_segmentation, rectangle, segmentation_mask

# A box thinner than this has no pixel to learn from (ppdet leaves out such boxes too).
_MIN_SIDE = 1e-3
_MOST_ID = 1 << 63
_NUMBER = re.compile("-?[0-9]{1,19}")
# What `iscrowd` may say; an entry without it is no crowd.
_CROWD = {0: False, 1: True, None: False, "": False, "0": False, "1": True, "false": False, "true": True, "none": False}
_CATEGORIES = 'It wants {"id": 1, "name": "…"} for each class.'

logger = logging.getLogger("ppdet_ext")

_Targets = tuple[np.ndarray, np.ndarray, list[Rle], np.ndarray, np.ndarray]


def number_of(value: Any) -> Any:
    """An id that is written as text or with a point, as some tools do, as the number it stands for; anything else as it is."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < _MOST_ID else value


def checked_images(images: list[dict], problems: Problems) -> list[dict]:
    """The entries by id, without those that lack a key, have no size, or repeat an id; these become problems."""
    checked: dict[int, dict] = {}
    for position, image in enumerate(images):
        if isinstance(image, dict):
            image = {**image, **{key: number_of(image.get(key)) for key in ("id", "height", "width")}}
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
        ids[posixpath.normpath(image["file_name"])].append(number)
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
        told = category if isinstance(category, dict) else {}
        number, name = number_of(told.get("id")), told.get("name")
        if not isinstance(number, int) or isinstance(number, bool) or name is None or abs(number) >= _MOST_ID:
            raise UserError(
                f"{path}: entry {position} of categories ({_short(category)}) needs a whole number below 2^63 as its id, and a "
                f"name. {_CATEGORIES}"
            )
        name = str(name)
        if number in found:
            raise UserError(f"{path}: the category id {number} is used twice ({found[number]}, {name}).")
        found[number] = name
    twice = sorted({name for name in found.values() if list(found.values()).count(name) > 1})
    if twice:
        logger.warning("%s: several categories are called %s; by name they cannot be told apart", path, ", ".join(twice[:10]))
    return sorted(found.items())


def _image_fault(image: object) -> str | None:
    if not isinstance(image, dict):
        return "it is no object"
    missing = [key for key in ("id", "file_name", "height", "width") if image.get(key) is None]
    if missing:
        return f"{', '.join(missing)} is missing"
    if not isinstance(image["id"], int) or not isinstance(image["file_name"], str):
        return "id must be a whole number and file_name a text"
    if abs(image["id"]) >= _MOST_ID:
        return "id must be below 2^63"
    sides = image["height"], image["width"]
    if not all(isinstance(side, int) and side >= 1 for side in sides):
        return f"height {sides[0]!r} and width {sides[1]!r} must be positive whole numbers"
    return f"height {sides[0]} and width {sides[1]} are no picture's" if sides[0] * sides[1] > MOST_PIXELS else None


def _short(entry: object) -> str:
    text = str(entry)
    return text if len(text) <= 80 else text[:77] + "..."


class Annotations:
    """The annotations of one image; `read` converts them, `degenerate` names what it left out."""

    def __init__(self, problems: Problems, label_of: dict[int, int], boxes_only: bool, crowds_are_objects: bool = False):
        self.problems, self.label_of, self.boxes_only = problems, label_of, boxes_only
        self.crowds_are_objects = crowds_are_objects
        self.items: list[dict] = []
        self.degenerate: list[str] = []

    def read(self, name: str, height: int, width: int) -> list[Annotation]:
        """Those that have area. name: of the image, which a faulty annotation makes incomplete."""
        found = []
        for item in self.items:
            if not has_segmentation(item) and not self.boxes_only:
                self.problems.add(
                    "annotations without a segmentation, while others of the file have one (give them one, or delete them)",
                    f"id {item.get('id')} (image {item['image_id']})",
                    image=name,
                )
                continue
            try:
                one = self._read(item, height, width)
            except UserError as fault:
                self.problems.add("malformed annotations", f"id {item.get('id')}: {fault}", image=name)
                continue
            if one is None:
                self.degenerate.append(f"id {item.get('id')} (image {item['image_id']}, bbox {item.get('bbox')})")
            else:
                found.append(one)
        return found

    def _read(self, item: dict, height: int, width: int) -> Annotation | None:
        raw = _bbox(item, needed=self.boxes_only)
        box = None if raw is None else _clipped(raw, height, width)
        if self.boxes_only:
            # The box is the mask, and has nothing to be compared with.
            raw = None
        if self.boxes_only:
            mask = Rle.empty(height, width) if box is None else rectangle(box, height, width)
        else:
            mask = segmentation_mask(item["segmentation"], height, width)
        area, crowd = _area(item, mask), _is_crowd(item)
        if not mask:
            return None
        label = self.label_of[item["category_id"]]
        return Annotation(item.get("id"), label, mask, crowd and not self.crowds_are_objects, area, raw, box, (height, width))


def targets_of(found: Sequence[Annotation]) -> _Targets:
    """Boxes (n, 4) float32 clipped to the image, labels (n,) int64, masks, crowd (n,) bool, areas (n,) float64."""
    return (
        np.array([one.final_box() for one in found], np.float32).reshape(-1, 4),
        np.array([one.label for one in found], np.int64),
        [one.mask for one in found],
        np.array([one.crowd for one in found], bool),
        np.array([one.area for one in found], np.float64),
    )


def group_by_image(
    content: dict, category_ids: list[int], problems: Problems, crowds_are_objects: bool = False
) -> dict[int, Annotations]:
    """Annotations by image id; those of unknown images and categories become problems.

    Where no annotation has a segmentation, the file is one of boxes: these become the masks, which is logged.
    """
    items = _entries(content.get("annotations") or [], problems)
    boxes_only = bool(items) and not any(map(has_segmentation, items))
    if boxes_only:
        logger.warning(
            "%s: none of the %d annotations has a segmentation; the boxes serve as masks, so mask losses and mask AP of "
            "this data set mean nothing",
            problems.source,
            len(items),
        )
    if items and not category_ids:
        raise UserError(f"{problems.source}: categories is empty, so nothing tells what the annotations are. {_CATEGORIES}")
    label_of = {category: label for label, category in enumerate(category_ids)}
    names = {number_of(image.get("id")): image.get("file_name") for image in content["images"] if isinstance(image, dict)}
    grouped: dict[int, Annotations] = defaultdict(lambda: Annotations(problems, label_of, boxes_only, crowds_are_objects))
    for item in items:
        image, category = number_of(item.get("image_id")), number_of(item.get("category_id"))
        if not _is_plain(image) or image not in names:
            problems.add("annotations of an image that is not listed", f"id {item.get('id')} of {image}")
        elif not _is_plain(category) or category not in label_of:
            problems.add("annotations of an unknown category", f"id {item.get('id')} of {category}", image=names[image])
        else:
            grouped[image].items.append(item if category == item["category_id"] else {**item, "category_id": category})
    return grouped


def _entries(items: list[Any], problems: Problems) -> list[dict]:
    for place, item in enumerate(items):
        if not isinstance(item, dict):
            told = "null" if item is None else _short(item)
            problems.add("annotations given as null or a plain value", f"entry {place} ({told})")
    return [item for item in items if isinstance(item, dict)]


def _area(item: dict, mask: Rle) -> float:
    area = item.get("area")
    # 0 is what EISeg writes of every object.
    if area is None or area == 0:
        return float(mask.area)
    if isinstance(area, str):
        with contextlib.suppress(ValueError):
            area = float(area)
    if not isinstance(area, int | float) or not math.isfinite(area) or area < 0:
        raise UserError(f"area {area!r} is not a number of pixels")
    return float(area)


def _is_plain(value: object) -> bool:
    """Whether it is no list and no object, which no table can be asked for."""
    return not isinstance(value, list | dict)


def _is_crowd(item: dict) -> bool:
    value = item.get("iscrowd")
    # Exporters that write every value as text write "0" and "False", which Python takes for true.
    told = _CROWD.get(value.strip().lower() if isinstance(value, str) else value) if _is_plain(value) else None
    if told is None:
        raise UserError(f"iscrowd {_short(value)!r} is neither 0 nor 1")
    return told


def _bbox(item: dict, needed: bool) -> Box | None:
    """[x, y, width, height] as written, float. None where there is none, unless it is needed.

    Raises: UserError for what is no bbox.
    """
    value = item.get("bbox")
    if not needed and (not value or value == [None] * 4):
        return None
    try:
        x, y, w, h = (float(number) for number in value)  # type: ignore[union-attr]
    except (TypeError, ValueError):
        raise UserError(f"bbox {value!r} is not [x, y, width, height]") from None
    if not all(map(math.isfinite, (x, y, w, h))):
        raise UserError(f"bbox {value!r} is not finite")
    return x, y, w, h


def _clipped(raw: Box, height: int, width: int) -> Box | None:
    """x1 y1 x2 y2 within the image; None where nothing is left of it."""
    x, y, w, h = raw
    box = max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
    return None if box[2] - box[0] < _MIN_SIDE or box[3] - box[1] < _MIN_SIDE else box
