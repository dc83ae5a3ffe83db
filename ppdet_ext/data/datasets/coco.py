"""`CocoJsonDataSet`: annotations in COCO's JSON format."""

import json
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from ppdet_ext.data.formats.coco_annotations import Annotations, checked_categories, checked_images, group_by_image, targets_of
from ppdet_ext.data.formats.coco_mended import Annotation, mend
from ppdet_ext.data.formats.coco_segmentation import demand_columns
from ppdet_ext.data.images.check import image_is_usable
from ppdet_ext.data.problems import Problems
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.text import read_text
from ppdet_ext.host.registry import one_of, register_dataset
from ppdet_ext.structures import Record

from .base import SelectedDataSet

# Of a file whose masks are all marked so.
CROWD_HINT = "which are neither learnt nor measured; CVAT and Datumaro mark brush masks so: set `crowds: objects`"
CROWDS = ("crowds", "objects")

logger = logging.getLogger("ppdet_ext")


@register_dataset
class CocoJsonDataSet(SelectedDataSet):
    """COCO's instances JSON: polygons, compressed and uncompressed run lengths, crowds.

    Category ids may have gaps; labels are their ranks. `category_ids[label]` gives the id back.
    Boxes are the JSON's, clipped to the image, unless they are not those of the masks (`mend`), and areas too (they sort
    objects into small, medium and large). Annotations without area inside the image are counted, logged, left out; those
    without a segmentation are faults; where no annotation of the file has one, the masks are the boxes, and a warning says
    so. A file without the section `annotations` gives images to predict on.

    Args:
        dataset_dir: folder of the data; the other paths are relative to it.
        anno_path: the JSON file.
        image_dir: folder of the images.
        semantic_dir: folder of COCO-stuff label maps (8-bit PNG named like the image), or None.
        split, fold, num_folds, part: which images to use, as of `SteelDataSet`; without them all.
        allow_empty: keep images without an object that is not a crowd.
        empty_ratio: share of them among all images kept, in [0, 1); otherwise all of them. Chosen by name and `seed`.
        on_error: "error" raises on faulty annotations and images, "skip" leaves out their images and logs them.
        check_images: "header" compares sizes with every image's header and looks for its end, "exists" looks for the
            files, "none" neither.
        seed: of the choices above.
        crowds: "objects" takes annotations with iscrowd 1 as objects: CVAT and Datumaro mark every brush mask so.
    """

    EMPTY = OBJECTS = "objects"

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
        crowds: str = "crowds",
    ):
        choice = (split, fold, num_folds, part, allow_empty, empty_ratio, on_error, check_images, seed)
        super().__init__(dataset_dir, anno_path, image_dir, *choice)
        self.semantic_dir = semantic_dir
        self.crowds = one_of(crowds, CROWDS, "crowds")
        self._class_names: list[str] = []
        self._account = ""

    @property
    def annotated(self) -> bool:
        self.load()
        return self._annotated

    @property
    def account(self) -> str:
        self.load()
        return self._account

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        self.load()
        return self._class_names

    @property
    def category_ids(self) -> list[int]:  # type: ignore[override]
        self.load()
        return self._category_ids

    def _read(self) -> list[Record]:
        path = self._source()
        content = read_json(path)
        categories = checked_categories(path, content["categories"])
        self._category_ids = [number for number, _ in categories]
        self._class_names = [name for _, name in categories]
        self._annotated = "annotations" in content
        self.problems = problems = Problems(path)
        images = checked_images(content["images"], problems)
        grouped = group_by_image(content, self._category_ids, problems, self.crowds == "objects")
        demand_columns((item for one in grouped.values() for item in one.items), path)
        usable = self._usable(self._select(images, grouped), problems)
        found = {image["id"]: grouped[image["id"]].read(image["file_name"], *_size(image)) for image in usable}
        problems.settle(self.on_error)
        usable = self._complete(usable, problems)
        degenerate = [text for image in usable for text in grouped[image["id"]].degenerate]
        if degenerate:
            logger.warning(
                "%s: %s without area inside the image left out: %s%s",
                path,
                counted(len(degenerate), "annotations"),
                "; ".join(degenerate[:10]),
                " …" if len(degenerate) > 10 else "",
            )
        mend(found, path)
        records = [self._record(image, found[image["id"]]) for image in usable]
        self._warn_of_crowds(records)
        self._account = _account(content, records, len(degenerate))
        return self._without_surplus(records, self._annotated)

    def _warn_of_crowds(self, records: Sequence[Record]) -> None:
        crowds, whole = sum(int(one.crowd.sum()) for one in records), sum(len(one.crowd) for one in records)
        if crowds > whole / 2:
            all_of = counted(whole, "annotations")
            logger.warning("%s: %d of %s are crowds (iscrowd 1), %s", self._source(), crowds, all_of, CROWD_HINT)

    def _complete(self, images: list[dict], problems: Problems) -> list[dict]:
        """The images of which no annotation was skipped: the rest of their objects would pass for background."""
        names = {image["file_name"] for image in images} & problems.images
        if names:
            logger.warning(
                "%s: %s left out, since what is left of their annotations would call objects background: %s%s",
                self._source(),
                counted(len(names), "images"),
                ", ".join(sorted(names)[:10]),
                " …" if len(names) > 10 else "",
            )
        return [image for image in images if image["file_name"] not in names]

    def _select(self, images: list[dict], grouped: Mapping[int, Annotations]) -> list[dict]:
        if self.split is None and self.fold is None:
            return images
        by_name = {image["file_name"]: image for image in images}
        if len(by_name) < len(images):
            raise UserError(
                f"{self.anno_path}: two images have the same file_name, so that split and fold cannot tell them apart."
            )
        classes = {name: {item["category_id"] for item in grouped[image["id"]].items} for name, image in by_name.items()}
        names = self._chosen(list(by_name), classes)
        return [by_name[name] for name in names]

    def _usable(self, images: list[dict], problems: Problems) -> list[dict]:
        folder = self.image_folder
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
            size = _size(image)
            present = self.check_images == "none" or os.path.exists(file)
            if image_is_usable(file, size, self.check_images, present, problems):
                usable.append(image)
        return usable

    def _record(self, image: dict, found: Sequence[Annotation]) -> Record:
        height, width = _size(image)
        boxes, labels, masks, crowd, areas = targets_of(found)
        name = image["file_name"]
        semantic = None
        if self.semantic_dir is not None:
            semantic = os.path.join(self.dataset_dir, self.semantic_dir, str(Path(name).with_suffix(".png")))
        file = os.path.join(self.image_folder, name)
        return Record(int(image["id"]), file, name, height, width, boxes, labels, masks, crowd, semantic, areas)


def _size(image: dict) -> tuple[int, int]:
    return int(image["height"]), int(image["width"])


def _account(content: dict, records: Sequence[Record], degenerate: int) -> str:
    """What became of a file's annotations, for the message where no object is left."""
    crowds = sum(int(record.crowd.sum()) for record in records)
    parts = [f"{counted(len(content.get('annotations') or []), 'annotations')} in the file"]
    if crowds:
        parts.append(f"{counted(crowds, 'crowds')} (iscrowd 1) {CROWD_HINT}")
    if degenerate:
        parts.append(f"{degenerate} without area inside the image")
    return ", ".join(parts)


def read_json(path: str) -> dict:
    """Content of an instances file, or of one without annotations, as COCO publishes for its test images.

    Raises: UserError when it is missing, no JSON, or lacks the images or categories.
    """
    if not os.path.exists(path):
        raise UserError(
            f"annotation file {path} does not exist; dataset_dir and anno_path name it. "
            "See dataset/README.md for how to get the data."
        )
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as fault:
        whole = fault.doc.rstrip()[-1:] in ("}", "]")
        remedy = "Correct it, or export it anew." if whole else "Its end is missing: fetch it again."
        raise UserError(f"{path}: not a JSON file ({fault}). {remedy}") from None
    except RecursionError:
        raise UserError(f"{path}: nested too deeply for an instances file of COCO.") from None
    missing = [key for key in ("images", "categories") if not isinstance(content, dict) or content.get(key) is None]
    if missing:
        found = ", ".join(list(content)[:5]) if isinstance(content, dict) else f"it holds a {type(content).__name__}"
        told = f"the section {missing[0]} is" if len(missing) == 1 else f"the sections {' and '.join(missing)} are"
        raise UserError(f"{path}: {told} missing or null ({found}); an instances file of COCO is expected.")
    for key in ("images", "categories", "annotations"):
        value = content.get(key, [])
        if not isinstance(value, list) and value is not None:
            kind = "an object" if isinstance(value, dict) else f"a {type(value).__name__}"
            raise UserError(f"{path}: {key} is {kind}, a list is expected.")
    return content
