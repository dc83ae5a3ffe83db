"""`SteelDataSet`: Kaggle's Severstal steel sheets, one CSV row per image and defect class."""

import logging
import os

import numpy as np

from ppdet_ext.data.formats.csv_rows import SteelRows, read_pixels, read_rows
from ppdet_ext.data.images.check import IMAGE_CHECKS, image_is_usable
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.data.problems import Problems
from ppdet_ext.data.splits import selection as choose
from ppdet_ext.errors import UserError
from ppdet_ext.files.cache import cached_arrays
from ppdet_ext.host.registry import one_of, register_dataset
from ppdet_ext.structures import Record

from .base import ON_ERROR
from .rle_csv import CsvDataSet
from .steel_instances import VERSION, Instances, split_rows

logger = logging.getLogger("ppdet_ext")

HELP = """{missing}
  The Severstal steel sheets come from https://www.kaggle.com/c/severstal-steel-defect-detection
  (accept its rules there first):
      kaggle competitions download -c severstal-steel-defect-detection
      unzip -d dataset/steel severstal-steel-defect-detection.zip
  Afterwards there are dataset/steel/train.csv, dataset/steel/train_images/*.jpg, dataset/steel/test_images/*.jpg;
  `dataset_dir` sets another place. More in dataset/README.md.
  To try everything without a download:
      python -m ppdet_ext.data.synthetic --out dataset/steel_sample
      python tools/train.py -c configs/htc/steel_sample.yml --eval"""


_Named = tuple[str, tuple[int, int]]


@register_dataset
class SteelDataSet(CsvDataSet):
    """Severstal's sheets: `ImageId,ClassId,EncodedPixels` or the older `ImageId_ClassId,EncodedPixels`.

    A row holds all defects of one class; every 8-connected component becomes an instance.

    Args:
        dataset_dir: folder of the data; the other paths are relative to it.
        anno_path: the CSV, or None for images alone (test).
        image_dir: folder of the images. Images there that the CSV does not name have no defect.
        split: file with the names of the images to use (one a line, or a CSV as of tools/split.py), or None for all.
        fold, num_folds, part: with a fold number, use its images ("val"), the other folds' ("train"), or "all". Folds are
            those of the split file's column `fold`; without it they are stratified by the classes present and depend only
            on the names and `seed`. Where the file has a column `part`, that value of it is used.
        allow_empty: keep images without an instance.
        empty_ratio: share of them among all images kept, in [0, 1), chosen by name and `seed`; otherwise all stay.
        min_instance_area: smaller components, in pixels, are left out.
        height, width: size of all images; None reads each image's header.
        class_names: names of classes 1, 2, …; by default defect_1 to defect_4.
        on_error: "error" raises on faulty rows and images; "skip" logs them and leaves out the images, those of faulty rows
            altogether, since what is left of their annotations would call defects clean steel.
        check_images: "header" compares sizes with the images' headers and looks for the files' ends, "exists" looks for
            the files, "none" neither.
        cache: keep the split masks on disk, keyed by the CSV's content.
        seed: of the choices above.
    """

    HELP = HELP
    EMPTY = "defects"

    def __init__(
        self,
        dataset_dir: str = "dataset/steel",
        anno_path: str | None = "train.csv",
        image_dir: str = "train_images",
        split: str | None = None,
        fold: int | None = None,
        num_folds: int = 5,
        part: str = "all",
        allow_empty: bool = True,
        empty_ratio: float = -1.0,
        min_instance_area: int = 0,
        height: int | None = 256,
        width: int | None = 1600,
        class_names: list[str] | None = None,
        on_error: str = "error",
        check_images: str = "header",
        cache: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        self.dataset_dir, self.anno_path, self.image_dir = dataset_dir, anno_path, image_dir
        self.split, self.fold, self.num_folds = split, fold, num_folds
        self.part = part
        self.allow_empty, self.empty_ratio = allow_empty, empty_ratio
        self.min_instance_area = min_instance_area
        self.height, self.width = height, width
        self.class_names = list(class_names or (f"defect_{i}" for i in range(1, 5)))
        self.on_error = one_of(on_error, ON_ERROR, "on_error")
        self.check_images = one_of(check_images, IMAGE_CHECKS, "check_images")
        self.cache, self.seed = cache, seed
        self.category_ids = list(range(1, len(self.class_names) + 1))
        self._check_arguments()

    def _check_arguments(self) -> None:
        choose.check_selection(self.split, self.fold, self.num_folds, self.part)
        if (self.height is None) != (self.width is None):
            raise UserError("height and width: set both, or neither (null reads them from the images).")

    def _read(self) -> list[Record]:
        listed = self._listed_images(self.height is not None)
        problems = Problems(self._source())
        rows, instances = self._read_masks(listed, problems)
        universe = sorted(set(rows.images) | set(listed))
        names = self._select(universe, rows, instances)
        usable = self._usable(names, set(listed), problems)
        problems.settle(self.on_error)
        records = self._records_of(usable, {name: i for i, name in enumerate(universe)}, rows, instances)
        return self._without_surplus(records)

    def _read_masks(self, listed: list[str], problems: Problems) -> tuple[SteelRows, Instances]:
        none = np.zeros(0, np.int64)
        if self.anno_path is None:
            rows = SteelRows([], none, none, none)
            return rows, split_rows(rows, (), {}, problems)
        path = self._source()
        try:
            rows = read_rows(path, len(self.class_names), problems)
        except FileNotFoundError:
            raise self._missing(f"Annotation file {path}") from None
        except OSError as fault:
            raise UserError(f"{path}: cannot be read ({fault.strerror}).") from None
        return rows, self._split_rows(rows, self._sizes(rows.images, set(listed)), problems)

    def _split_rows(self, rows: SteelRows, sizes: dict[str, tuple[int, int]], problems: Problems) -> Instances:
        if not self.cache:
            return split_rows(rows, read_pixels(self._source()), sizes, problems)
        measured = sorted(sizes.items()) if self.height is None else None
        parts = ("steel", VERSION, len(self.class_names), self.height, self.width, measured)

        def read(own: Problems) -> dict[str, np.ndarray]:
            return split_rows(rows, read_pixels(self._source()), sizes, own).arrays()

        return Instances(**cached_arrays(self._source(), self.dataset_dir, parts, read, problems))

    def _sizes(self, names: list[str], listed: set[str]) -> dict[str, tuple[int, int]]:
        if self.height is not None:
            return dict.fromkeys(names, (self.height, self.width))
        found = {}
        for name in names:
            if name in listed:
                try:
                    found[name] = image_size(os.path.join(self.image_folder, name))
                except UserError:
                    # Named among the unreadable images when they are checked.
                    continue
        return found

    def _select(self, universe: list[str], rows: SteelRows, instances: Instances) -> list[str]:
        classes: dict[str, set[int]] = {}
        if self.fold is not None:
            filled = np.unique(instances.row)
            for image, label in zip(rows.image[filled].tolist(), rows.label[filled].tolist()):
                classes.setdefault(rows.images[image], set()).add(label)
        return self._chosen(universe, classes)

    def _usable(self, names: list[str], listed: set[str], problems: Problems) -> list[_Named]:
        """(name, size) of the images that can be used."""
        usable = []
        for name in names:
            if name in problems.images:
                # Their rows are named already, which is all that matters where faults are errors.
                if self.on_error == "skip":
                    problems.add("images left out altogether because of faulty rows", name)
                continue
            path = os.path.join(self.image_folder, name)
            size = (self.height, self.width)
            if self.height is None:
                try:
                    size = image_size(path)
                except UserError as fault:
                    problems.add("unreadable or missing images", str(fault))
                    continue
            if image_is_usable(path, size, self.check_images, name in listed, problems):
                usable.append((name, size))
        return usable

    def _records_of(self, usable: list[_Named], ids: dict[str, int], rows: SteelRows, instances: Instances) -> list[Record]:
        masks = instances.masks()
        chosen = np.flatnonzero(instances.area >= self.min_instance_area)
        if len(chosen) < len(masks):
            logger.info(
                "%s: %d of %d components are smaller than min_instance_area: %d and left out",
                self._source(),
                len(masks) - len(chosen),
                len(masks),
                self.min_instance_area,
            )
        labels = rows.label[instances.row]
        image = rows.image[instances.row]
        chosen = chosen[np.argsort(image[chosen], kind="stable")]
        first = np.searchsorted(image[chosen], np.arange(len(rows.images) + 1))
        place = {name: i for i, name in enumerate(rows.images)}
        records = []
        for name, (height, width) in usable:
            at = place.get(name)
            own = chosen[first[at] : first[at + 1]] if at is not None else chosen[:0]
            records.append(
                Record(
                    ids.get(name, len(ids)),
                    os.path.join(self.image_folder, name),
                    name,
                    height,
                    width,
                    instances.box[own],
                    labels[own],
                    [masks[i] for i in own],
                    np.zeros(len(own), bool),
                )
            )
        return records
