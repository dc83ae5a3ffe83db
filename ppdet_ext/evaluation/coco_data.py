"""Records and detections as in-memory pycocotools data sets: no annotation JSON is written or read."""

import contextlib
import io
from collections.abc import Mapping, Sequence

from pycocotools.coco import COCO

from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Record, Rle


def ground_truth(records: Sequence[Record], category_ids: Sequence[int], with_masks: bool) -> COCO:
    """The annotations as a COCO data set; areas are those annotated, else those of the masks, else of the boxes.

    UserError for a record without a mask for each box where `with_masks`.
    """
    annotations = []
    for record in records:
        if with_masks and len(record.masks) != len(record.boxes):
            raise UserError(
                f"{record.name}: {len(record.masks)} masks for {len(record.boxes)} boxes; masks are needed to evaluate masks"
            )
        for i, (x1, y1, x2, y2) in enumerate(record.boxes.astype(float).tolist()):
            mask = record.masks[i] if record.masks else None
            annotation = {
                "image_id": record.im_id,
                "category_id": category_ids[record.labels[i]],
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "iscrowd": int(record.crowd[i]),
            }
            annotation |= _region(mask, (x2 - x1) * (y2 - y1))
            if record.areas is not None:
                annotation["area"] = float(record.areas[i])
            annotations.append(annotation)
    return _coco(records, category_ids, annotations)


def predicted(
    records: Sequence[Record], category_ids: Sequence[int], detections: Mapping[int, Detections], iou_type: str
) -> COCO:
    """Predictions by image id as a COCO data set; areas are those of what is compared, boxes or masks."""
    annotations = []
    for im_id, own in detections.items():
        boxes, _ = own.to_coco_results(im_id, category_ids)
        for i, result in enumerate(boxes):
            mask = own.masks[i] if own.masks is not None and iou_type == "segm" else None
            annotations.append(result | _region(mask, result["bbox"][2] * result["bbox"][3]))
    return _coco(records, category_ids, annotations)


def _region(mask: Rle | None, box_area: float) -> dict:
    if mask is None:
        return {"area": box_area}
    return {"area": mask.area, "segmentation": mask.to_coco()}


def _coco(records: Sequence[Record], category_ids: Sequence[int], annotations: list[dict]) -> COCO:
    # pycocotools takes id 0 for "not matched", so ids start at 1.
    numbered = [annotation | {"id": i + 1} for i, annotation in enumerate(annotations)]
    images = [{"id": record.im_id, "height": record.height, "width": record.width} for record in records]
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": images,
            "annotations": numbered,
            "categories": [{"id": category_id} for category_id in category_ids],
        }
        coco.createIndex()
    return coco
