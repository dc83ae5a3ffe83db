"""Our data sets in ppdet's own Trainer, and what passes between its readers and metrics and a model of ours."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from ppdet.core.workspace import global_config

from ppdet_ext.errors import UserError
from ppdet_ext.files.atomic import write_atomic
from ppdet_ext.files.download import weights_folder
from ppdet_ext.structures import Detections, Record, Rle
from ppdet_ext.structures.paste import IGNORED, rasterise

from .registry import TRANSFORMS

HOSTS = "curr_iter"  # a key that all batches of ppdet's readers have, and ours have not
NO_IMAGES = ("mixup_epoch", "cutmix_epoch", "mosaic_epoch", "pre_img_epoch")


class HostDataSet:
    """What ppdet's readers, trainer and metrics ask of a data set, from what ours have: records and classes."""

    records: list[Record]
    class_names: list[str]
    category_ids: list[int]
    transform: Callable[[dict[str, Any]], dict[str, Any]]
    with_objects: bool = False  # whether it is the data set that ppdet trains on

    def __call__(self) -> "HostDataSet":
        """ppdet calls what a configuration gives as a data set."""
        return self

    def check_or_download_dataset(self) -> None:
        """Nothing is downloaded; reading says what is missing."""

    def set_transform(self, transform: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        """Take the reader's sample transforms. Raises: UserError for ours, which are made for our own loader."""
        for operator in getattr(transform, "transforms_cls", ()):
            if type(operator).__name__ in TRANSFORMS:
                raise UserError(
                    f"{type(operator).__name__} is a transform of ppdet_ext, for its own tools. In ppdet's Trainer take "
                    "ppdet's operators (Decode, Resize, RandomFlip, NormalizeImage, Permute), as "
                    "configs/_base_/readers/steel_sample_stock.yml does; our tools read these too."
                )
        self.transform = transform
        self.with_objects = global_config.get("TrainDataset") is self

    def set_kwargs(self, **options: Any) -> None:
        """Take the reader's other options. Raises: UserError for those that mix several images into one."""
        if mixing := [name for name in NO_IMAGES if options.get(name, -1) >= 0]:
            raise UserError(f"TrainReader.{mixing[0]}: data sets of ppdet_ext give one image at a time; remove it.")

    def set_epoch(self, epoch: int) -> None:
        """Nothing here depends on the epoch."""

    @property
    def catid2clsid(self) -> dict[int, int]:
        """Category id -> label."""
        return {number: label for label, number in enumerate(self.category_ids)}

    @property
    def roidbs(self) -> list[dict[str, Any]]:
        """What ppdet reads of each image, with its objects where the data set is the one trained on."""
        return [roidb_of(record, self.with_objects) for record in self.records]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.transform(roidb_of(self.records[index], self.with_objects) | {HOSTS: 0})

    def get_anno(self) -> str:
        """Path of the annotations as COCO's JSON, for ppdet's metric: written once to the cache folder."""
        text = json.dumps(coco_json(self.records, self.class_names, self.category_ids))
        path = weights_folder().parent / "coco" / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.json"
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, lambda aside: aside.write_text(text), "PPDET_EXT_CACHE")
        return str(path)


def roidb_of(record: Record, with_objects: bool) -> dict[str, Any]:
    """An image as ppdet's operators take it; its objects without crowds, masks as COCO's compressed runs."""
    image = {"im_file": record.file, "im_id": np.array([record.im_id]), "h": record.height, "w": record.width}
    if not with_objects:
        return image
    own = ~record.crowd
    return image | {
        "is_crowd": np.zeros((int(own.sum()), 1), np.int32),
        "gt_class": record.labels[own].astype(np.int32).reshape(-1, 1),
        "gt_bbox": record.boxes[own].astype(np.float32),
        "gt_poly": [mask.to_coco() for mask, kept in zip(record.masks, own) if kept],
    }


def coco_json(records: Sequence[Record], class_names: Sequence[str], category_ids: Sequence[int]) -> dict[str, Any]:
    """Annotations as the content of COCO's JSON; areas are those annotated, else those of the masks."""
    annotations: list[dict[str, Any]] = []
    for record in records:
        areas = [mask.area for mask in record.masks] if record.areas is None else record.areas.tolist()
        for box, label, mask, crowd, area in zip(record.boxes, record.labels, record.masks, record.crowd, areas):
            x1, y1, x2, y2 = map(float, box)
            annotations.append({
                "id": len(annotations) + 1, "image_id": int(record.im_id), "category_id": int(category_ids[label]),
                "bbox": [x1, y1, x2 - x1, y2 - y1], "area": float(area), "iscrowd": int(crowd),
                "segmentation": mask.to_coco(text=True),
            })  # fmt: skip
    images = [{"id": int(r.im_id), "file_name": r.name, "height": r.height, "width": r.width} for r in records]
    categories = [{"id": int(number), "name": str(name)} for number, name in zip(category_ids, class_names)]
    # pycocotools copies "info" without asking.
    return {"info": {}, "images": images, "annotations": annotations, "categories": categories}


def our_batch(batch: Mapping[str, Any]) -> Mapping[str, Any]:
    """A batch of ppdet's readers with the keys of ours; ours as it is.

    Crowds are left out; the semantic target is drawn from the masks. Where there are no objects, in evaluation, there are no
    targets. Raises: UserError for objects that have been stacked.
    """
    if HOSTS not in batch:
        return batch
    shapes = np.asarray(batch["im_shape"], np.float32)
    scales = np.asarray(batch["scale_factor"], np.float32)
    out: dict[str, Any] = {
        **{key: batch[key] for key in ("image", "im_shape", "scale_factor")},
        "im_id": np.asarray(batch["im_id"]).reshape(-1),
        "origin_shape": np.floor(shapes / scales + 0.5).astype(np.int64),
        "epoch": int(batch.get("epoch_id", 0)),
    }
    if "gt_bbox" not in batch:
        return out
    if not isinstance(batch["gt_bbox"], list) or "gt_poly" not in batch:
        raise UserError("TrainReader: set collate_batch: false, so that images may have different numbers of objects.")
    crowds = batch.get("is_crowd") or [np.zeros(len(boxes)) for boxes in batch["gt_bbox"]]
    keep = [np.asarray(crowd).reshape(-1) == 0 for crowd in crowds]
    sizes = np.ceil(shapes).astype(int).tolist()
    out["gt_bbox"] = [np.asarray(x, np.float32).reshape(-1, 4)[k] for x, k in zip(batch["gt_bbox"], keep)]
    out["gt_class"] = [np.asarray(x, np.int64).reshape(-1)[k] for x, k in zip(batch["gt_class"], keep)]
    out["gt_mask"] = [
        [_mask(segment, *size) for segment, kept in zip(segments, k) if kept]
        for segments, size, k in zip(batch["gt_poly"], sizes, keep)
    ]
    semantic = np.full((len(sizes), *out["image"].shape[2:]), IGNORED, np.uint8)
    for target, masks, labels, (height, width) in zip(semantic, out["gt_mask"], out["gt_class"], sizes):
        target[:height, :width] = rasterise(masks, labels, np.zeros(len(labels), bool), height, width)
    out["semantic"] = paddle.to_tensor(semantic)
    return out


def _mask(segment: Any, height: int, width: int) -> Rle:
    """A mask of that size from polygons, or from runs that a resize may have left a pixel larger or smaller."""
    if isinstance(segment, list):
        return Rle.from_polygons(segment, height, width)
    mask = Rle.from_coco(segment)
    return mask if mask.size == (height, width) else mask.place(0, 0, height, width)


def host_outputs(found: Sequence[Detections]) -> dict[str, np.ndarray]:
    """Detections as ppdet's metrics take them.

    Returns:
        bbox (n, 6) float32 label, score, x1, y1, x2, y2; bbox_num (images,) int32; mask (n, H, W) int8, −1 beyond an
        image, where there are masks. An image without any has one row of label −1, which the metrics leave out.
    """
    rows, counts, masks = [], [], []
    height, width = max(one.height for one in found), max(one.width for one in found)
    for one in found:
        real = np.concatenate([one.labels[:, None], one.scores[:, None], one.boxes], axis=1)
        rows.append(real if len(one) else np.array([[-1, 0, 0, 0, 1, 1]]))
        counts.append(len(rows[-1]))
        canvas = np.full((counts[-1], height, width), -1, np.int8)
        canvas[:, : one.height, : one.width] = 0
        for target, mask in zip(canvas, one.masks or ()):
            target[: one.height, : one.width] = mask.to_bitmap()
        masks.append(canvas)
    outputs = {"bbox": np.concatenate(rows).astype(np.float32), "bbox_num": np.array(counts, np.int32)}
    return outputs | ({"mask": np.concatenate(masks)} if found[0].masks is not None else {})
