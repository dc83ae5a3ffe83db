"""COCO's annotations and results as any program writes them: checked, completed, and evaluated."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Rle

from .coco_engine import AUTO, CocoScores, Results, Truth, choose_evaluator, that_count

Size = tuple[int, int]


def evaluate_coco(
    truth: Mapping[str, Any], results: Sequence[Mapping[str, Any]], iou_type: str = "segm", evaluator: str = AUTO
) -> CocoScores:
    """COCO's numbers of results, as `json.load` gives them, against annotations; neither is changed.

        scores = evaluate_coco(json.loads(annotations), json.loads(results))
        print(scores.table, scores.engine)

    What programs leave out is filled in: `info`, `iscrowd` (0), `area` (of the mask, else of the box) and `bbox`. Areas of
    results are those of what is compared, also where a mask comes with a box. No results at all give 0, not an error. Results
    of classes that the annotations do not have count nowhere, as in pycocotools. Annotations are numbered anew, for
    pycocotools takes one of id 0 for none.

    Args:
        truth: images, annotations, categories.
        results: image_id, category_id, score and bbox or segmentation: polygons, or run lengths in any of COCO's forms.
        iou_type: "bbox" or "segm".
        evaluator: as of the configuration's key.

    Raises: UserError naming the row: an image that is not in the truth, a score that is no number, a mask that is none.
    """
    if iou_type not in ("bbox", "segm"):
        raise UserError(f"iou_type is bbox or segm, not {iou_type!r}")
    engine = choose_evaluator(evaluator)
    checked, sizes = checked_truth(truth, iou_type)
    return engine(checked, that_count(checked_results(results, sizes, iou_type)), iou_type)


def checked_truth(truth: Mapping[str, Any], iou_type: str) -> tuple[Truth, dict[int, Size]]:
    """Annotations with all that an engine reads, and (height, width) by image id. Raises: UserError naming the row."""
    for key in ("images", "annotations", "categories"):
        if not isinstance(truth.get(key), list):
            raise UserError(f"the annotations have no list {key!r}; COCO's have images, annotations and categories")
    sizes = {image["id"]: (image.get("height", 0), image.get("width", 0)) for image in truth["images"]}
    annotations = []
    for row, one in enumerate(truth["annotations"], 1):
        where = f"annotation {row}"
        _demand_image(one, sizes, where)
        whole = {"id": row, "image_id": one["image_id"], "category_id": one.get("category_id")}
        whole["iscrowd"] = int(one.get("iscrowd") or 0)
        annotations.append(whole | _region(one, sizes[one["image_id"]], iou_type, where))
    categories = [{"id": one["id"], "name": str(one.get("name", one["id"]))} for one in truth["categories"]]
    images = [{"id": im_id, "height": height, "width": width} for im_id, (height, width) in sizes.items()]
    return {"images": images, "annotations": annotations, "categories": categories}, sizes


def checked_results(results: Iterable[Mapping[str, Any]], sizes: Mapping[int, Size], iou_type: str) -> Results:
    """Results with all that an engine reads. Raises: UserError naming the row."""
    checked = []
    for row, one in enumerate(results, 1):
        where = f"result {row}"
        _demand_image(one, sizes, where)
        score = one.get("score")
        if isinstance(score, bool) or not isinstance(score, int | float | np.number) or not math.isfinite(score):
            raise UserError(f"{where}: the score is {score!r}; it must be a finite number")
        whole = {"image_id": one["image_id"], "category_id": one.get("category_id"), "score": float(score)}
        # The area is that of what is compared, whatever the row says; with a box, engines would take the box's for a mask.
        own = {key: value for key, value in one.items() if key != "area"}
        region = _region(own, sizes[one["image_id"]], iou_type, where)
        checked.append(whole | {key: value for key, value in region.items() if key != "bbox" or iou_type == "bbox"})
    return checked


def _demand_image(one: Mapping[str, Any], sizes: Mapping[int, Size], where: str) -> None:
    im_id = one.get("image_id")
    if isinstance(im_id, bool) or not isinstance(im_id, int | np.integer) or im_id not in sizes:
        raise UserError(f"{where}: image id {im_id!r} is not among the {len(sizes)} images of the annotations")


def _region(one: Mapping[str, Any], size: Size, iou_type: str, where: str) -> dict[str, Any]:
    """bbox, area and, for masks, segmentation."""
    drawn, box, area = one.get("segmentation"), one.get("bbox"), one.get("area")
    mask = None
    if iou_type == "segm" or (drawn and (box is None or area is None) and "score" not in one):
        mask = _mask(drawn, size, where)
    if box is None:
        if mask is None:
            raise UserError(f"{where} has neither bbox nor segmentation")
        x1, y1, x2, y2 = mask.box
        box = [x1, y1, x2 - x1, y2 - y1]
    if area is None:
        area = box[2] * box[3] if mask is None else mask.area
    region = {"bbox": [float(edge) for edge in box], "area": float(area)}
    return region if mask is None or iou_type == "bbox" else region | {"segmentation": mask.to_coco()}


def _mask(drawn: Any, size: Size, where: str) -> Rle:
    """The mask of a segmentation in any form. UserError where it is none, or of another size than the image."""
    try:
        if isinstance(drawn, Mapping):
            mask = Rle.from_coco(dict(drawn))
        elif isinstance(drawn, list):
            mask = Rle.from_polygons(drawn, *size)
        else:
            raise UserError("there is no segmentation; evaluate boxes, or results with masks")
    except UserError as fault:
        raise UserError(f"{where}: {fault}") from None
    if size != (0, 0) and mask.size != size:
        raise UserError(f"{where}: a mask of {mask.height}x{mask.width} pixels in an image of {size[0]}x{size[1]}")
    return mask
