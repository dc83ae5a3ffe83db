"""COCO annotations of one image turned into boxes, labels and masks."""

from collections import defaultdict

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .problems import Problems

# A box thinner than this has no pixel to learn from (ppdet leaves out such boxes too).
_MIN_SIDE = 1e-3


class Annotations:
    """The annotations of one image; `targets` converts them, `degenerate` names what it left out."""

    def __init__(self, problems: Problems, label_of: dict[int, int]):
        self.problems, self.label_of = problems, label_of
        self.items: list[dict] = []
        self.degenerate: list[str] = []

    def targets(self, height: int, width: int) -> tuple[np.ndarray, np.ndarray, list[Rle], np.ndarray]:
        """Boxes (n, 4) float32 clipped to the image, labels (n,) int64, masks, crowd (n,) bool."""
        boxes, labels, masks, crowd = [], [], [], []
        for item in self.items:
            try:
                box = _clipped_box(item, height, width)
                mask = segmentation_mask(item.get("segmentation"), height, width)
            except UserError as fault:
                self.problems.add("malformed annotations", f"id {item.get('id')}: {fault}")
                continue
            if box[2] - box[0] < _MIN_SIDE or box[3] - box[1] < _MIN_SIDE or not mask:
                self.degenerate.append(f"id {item.get('id')} (image {item['image_id']}, bbox {item['bbox']})")
                continue
            boxes.append(box)
            labels.append(self.label_of[item["category_id"]])
            masks.append(mask)
            crowd.append(bool(item.get("iscrowd", 0)))
        return np.array(boxes, np.float32).reshape(-1, 4), np.array(labels, np.int64), masks, np.array(crowd, bool)


def group_by_image(content: dict, category_ids: list[int], problems: Problems) -> dict[int, Annotations]:
    """Annotations by image id; those of unknown images and categories become problems."""
    label_of = {category: label for label, category in enumerate(category_ids)}
    images = {image["id"] for image in content["images"]}
    grouped: dict[int, Annotations] = defaultdict(lambda: Annotations(problems, label_of))
    for item in content["annotations"]:
        if item.get("image_id") not in images:
            problems.add("annotations of an image that is not listed", f"id {item.get('id')} of {item.get('image_id')}")
        elif item.get("category_id") not in label_of:
            problems.add("annotations of an unknown category", f"id {item.get('id')} of {item.get('category_id')}")
        else:
            grouped[item["image_id"]].items.append(item)
    return grouped


def segmentation_mask(segmentation: object, height: int, width: int) -> Rle:
    """The mask of a COCO segmentation: a list of polygons, or a run-length dict. None or [] is an empty mask.

    Raises: UserError for anything else, and for a run-length mask of another size.
    """
    if not segmentation:
        return Rle.empty(height, width)
    if isinstance(segmentation, list):
        return Rle.from_polygons(segmentation, height, width)
    mask = Rle.from_coco(segmentation)
    if mask.size != (height, width):
        raise UserError(f"its mask has size {mask.height}x{mask.width}, its image {height}x{width} (height x width)")
    return mask


def _clipped_box(item: dict, height: int, width: int) -> tuple[float, float, float, float]:
    try:
        x, y, w, h = (float(value) for value in item["bbox"])
    except (KeyError, TypeError, ValueError):
        raise UserError(f"bbox {item.get('bbox')!r} is not [x, y, width, height]") from None
    return max(x, 0.0), max(y, 0.0), min(x + w, float(width)), min(y + h, float(height))
