"""`CocoJsonDataSet`: annotations in COCO's JSON format."""

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

from ppdet_ext.data.formats.coco_annotations import Annotations, group_by_image
from ppdet_ext.data.formats.coco_images import checked_categories, checked_images
from ppdet_ext.data.images.check import IMAGE_CHECKS, image_is_usable
from ppdet_ext.data.problems import Problems
from ppdet_ext.data.splits.selection import check_selection, keep_empty, select_images
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import one_of, register_dataset
from ppdet_ext.structures import Record

from .base import ON_ERROR, InstanceDataSet

logger = logging.getLogger("ppdet_ext")


@register_dataset
class CocoJsonDataSet(InstanceDataSet):
    """COCO's instances JSON: polygons, compressed and uncompressed run lengths, crowds.

    Category ids may have gaps; labels are their ranks. `category_ids[label]` gives the id back.
    Boxes are the JSON's, clipped to the image, and areas too (they sort objects into small, medium and large). Annotations
    without area inside the image are counted, logged, left out. Annotations without a segmentation are faults; where no
    annotation of the file has one, the masks are the boxes, and a warning says so. A file without the section
    `annotations` gives images to predict on.

    Args:
        dataset_dir: folder of the data; the other paths are relative to it.
        anno_path: the JSON file.
        image_dir: folder of the images.
        semantic_dir: folder of COCO-stuff label maps (8-bit PNG named like the image), or None.
        split, fold, num_folds, part: which images to use, as of `SteelDataSet`; without them all.
        allow_empty: keep images without an object that is not a crowd.
        empty_ratio: share of them among all images kept, in [0, 1); otherwise all of them. Chosen by name and `seed`.
        on_error: "error" raises on faulty annotations and images, "skip" leaves them out and logs them.
        check_images: "header" compares sizes with every image's header and looks for its end, "exists" looks for the
            files, "none" neither.
        seed: of the choices above.
    """

    def __init__(
        self,
        dataset_dir: str = "dataset/coco",
        anno_path: str = "annotations/instances_train2017.json",
        image_dir: str = "train2017",
        semantic_dir: str | None = None,
        split: str | None = None,
        fold: int | None = None,
        num_folds: int = 5,
        part: str = "all",
        allow_empty: bool = True,
        empty_ratio: float = -1.0,
        on_error: str = "error",
        check_images: str = "exists",
        seed: int = 0,
    ):
        super().__init__()
        self.dataset_dir, self.anno_path, self.image_dir = dataset_dir, anno_path, image_dir
        self.semantic_dir = semantic_dir
        check_selection(split, fold, num_folds, part)
        self.split, self.fold, self.num_folds, self.part = split, fold, num_folds, part
        self.allow_empty, self.empty_ratio = allow_empty, empty_ratio
        self.on_error = one_of(on_error, ON_ERROR, "on_error")
        self.check_images = one_of(check_images, IMAGE_CHECKS, "check_images")
        self.seed = seed
        self._class_names: list[str] = []

    @property
    def annotated(self) -> bool:
        self.load()
        return self._annotated

    @property
    def class_names(self) -> list[str]:
        self.load()
        return self._class_names

    @property
    def category_ids(self) -> list[int]:
        self.load()
        return self._category_ids

    def _read(self) -> list[Record]:
        path = os.path.join(self.dataset_dir, self.anno_path)
        content = read_json(path)
        categories = checked_categories(path, content["categories"])
        self._category_ids = [number for number, _ in categories]
        self._class_names = [name for _, name in categories]
        self._annotated = "annotations" in content
        problems = Problems(path)
        images = checked_images(content["images"], problems)
        grouped = group_by_image(content, self._category_ids, problems)
        usable = self._usable(self._select(images, grouped), problems)
        records = [self._record(image, grouped[image["id"]]) for image in usable]
        problems.settle(self.on_error)
        degenerate = [text for image in usable for text in grouped[image["id"]].degenerate]
        if degenerate:
            logger.warning(
                "%s: %d annotations without area inside their image are left out: %s%s",
                path,
                len(degenerate),
                "; ".join(degenerate[:10]),
                " …" if len(degenerate) > 10 else "",
            )
        return self._without_surplus(records, path)

    def _select(self, images: list[dict], grouped: Mapping[int, Annotations]) -> list[dict]:
        if self.split is None and self.fold is None:
            return images
        by_name = {image["file_name"]: image for image in images}
        if len(by_name) < len(images):
            raise UserError(
                f"{self.anno_path}: two images have the same file_name, so that split and fold cannot tell them apart."
            )
        names = select_images(
            list(by_name),
            {name: {item["category_id"] for item in grouped[image["id"]].items} for name, image in by_name.items()},
            split=None if self.split is None else os.path.join(self.dataset_dir, self.split),
            fold=self.fold,
            num_folds=self.num_folds,
            part=self.part,
            seed=self.seed,
        )
        return [by_name[name] for name in names]

    def _usable(self, images: list[dict], problems: Problems) -> list[dict]:
        folder = os.path.join(self.dataset_dir, self.image_dir)
        if not os.path.isdir(folder) and self.check_images != "none":
            raise UserError(
                f"image folder {folder} does not exist; dataset_dir and image_dir name it. "
                "See dataset/README.md for how to get the data."
            )
        if self.semantic_dir is not None and not os.path.isdir(maps := os.path.join(self.dataset_dir, self.semantic_dir)):
            raise UserError(
                f"folder of label maps {maps} does not exist; dataset_dir and semantic_dir name it. See dataset/README.md for "
                "how to get the maps, and what to do without them."
            )
        usable = []
        for image in images:
            file = os.path.join(folder, image["file_name"])
            size = (int(image["height"]), int(image["width"]))
            present = self.check_images == "none" or os.path.exists(file)
            if image_is_usable(file, size, self.check_images, present, problems):
                usable.append(image)
        return usable

    def _record(self, image: dict, annotations: Annotations) -> Record:
        height, width = int(image["height"]), int(image["width"])
        boxes, labels, masks, crowd, areas = annotations.targets(height, width)
        name = image["file_name"]
        semantic = None
        if self.semantic_dir is not None:
            semantic = os.path.join(self.dataset_dir, self.semantic_dir, str(Path(name).with_suffix(".png")))
        file = os.path.join(self.dataset_dir, self.image_dir, name)
        return Record(int(image["id"]), file, name, height, width, boxes, labels, masks, crowd, semantic, areas)

    def _without_surplus(self, records: list[Record], path: str) -> list[Record]:
        if not self._annotated:
            logger.info("%s: %d images without annotations, for prediction", path, len(records))
            return records
        empty = [record.name for record in records if not (~record.crowd).any()]
        kept = set()
        if self.allow_empty:
            kept = keep_empty(empty, len(records) - len(empty), self.empty_ratio, self.seed)
        left_out = set(empty) - kept
        records = [record for record in records if record.name not in left_out]
        logger.info(
            "%s: %d images, %d of them without objects (%d more left out), %d objects, %d crowds",
            path,
            len(records),
            len(kept),
            len(left_out),
            sum(int((~record.crowd).sum()) for record in records),
            sum(int(record.crowd.sum()) for record in records),
        )
        if not records:
            raise UserError(f"{path}: no image is left to use. Check split, fold, allow_empty and on_error.")
        return records


def read_json(path: str) -> dict:
    """Content of an instances file, or of one without annotations, as COCO publishes for its test images.

    Raises: UserError when it is missing, no JSON, or lacks the images or categories.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = json.load(file)
    except FileNotFoundError:
        raise UserError(
            f"annotation file {path} does not exist; dataset_dir and anno_path name it. "
            "See dataset/README.md for how to get the data."
        ) from None
    except (OSError, ValueError) as fault:
        raise UserError(f"{path}: not a JSON file ({fault}). Fetch it again.") from None
    missing = [key for key in ("images", "categories") if not isinstance(content, dict) or key not in content]
    if missing:
        raise UserError(f"{path}: the section {', '.join(missing)} is missing; an instances file of COCO is expected.")
    return content
