"""Predictions as COCO results, in files of the names ppdet gives them."""

from collections.abc import Iterable, Sequence
from typing import Any

from ppdet_ext.structures import Detections

BOX_FILE, MASK_FILE, IMAGES_FILE = "bbox.json", "mask.json", "images.json"
ORIGIN_FILE = "origin.json"  # {"weights": as configured, "origin": what they and the configuration are by content}


def coco_results(
    detections: Iterable[tuple[int, Detections]], category_ids: Sequence[int]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Boxes and masks of (image id, detections) as results that JSON can hold; no masks of a model without them."""
    boxes: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    for im_id, own in detections:
        box_results, mask_results = own.to_coco_results(im_id, category_ids)
        boxes.extend(box_results)
        masks.extend(result | {"segmentation": mask.to_coco(text=True)} for result, mask in zip(mask_results, own.masks or []))
    return boxes, masks
