"""`FashionDataSet`: Kaggle's iMaterialist Fashion, one CSV row per garment or part of one."""

import inspect
import logging
import os

import numpy as np
import yaml

from ppdet_ext.data.formats.fashion_csv import read_rows
from ppdet_ext.data.formats.label_descriptions import Labels, labels_of, read_labels
from ppdet_ext.data.images.check import IMAGE_CHECKS, image_is_usable
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.data.problems import Problems
from ppdet_ext.data.splits import selection as choose
from ppdet_ext.errors import UserError
from ppdet_ext.files.cache import cached_arrays
from ppdet_ext.host.registry import one_of, register_dataset
from ppdet_ext.structures import Record

from .base import ON_ERROR
from .instances import VERSION, Instances, read_instances
from .rle_csv import CsvDataSet

logger = logging.getLogger("ppdet_ext")

HELP = """{missing}
  iMaterialist Fashion comes from Kaggle (accept the competition's rules there first), 2019's or 2020's:
      kaggle competitions download -c imaterialist-fashion-2019-FGVC6
      unzip -d dataset/fashion imaterialist-fashion-2019-FGVC6.zip
      kaggle competitions download -c imaterialist-fashion-2020-fgvc7
      unzip -d dataset/fashion imaterialist-fashion-2020-fgvc7.zip
  Afterwards there are dataset/fashion/train.csv, dataset/fashion/label_descriptions.json, dataset/fashion/train/*.jpg and
  dataset/fashion/test/*.jpg; `dataset_dir` sets another place. More in dataset/README.md.
  To try everything without a download:
      python tools/train.py -c configs/htc/fashion_sample.yml --eval"""


@register_dataset
class FashionDataSet(CsvDataSet):
    """iMaterialist Fashion: `ImageId,EncodedPixels,Height,Width,ClassId` (2019), with `,AttributesIds` (2020).

    Every row is an instance, in one piece or several; instances overlap. In 2019's ClassId attributes follow the category
    (`13_20_45`). Labels are in the order of the category ids, `attribute_names` tells what `Record.attributes` mean. An
    ImageId without suffix, as in 2020, is that of `.jpg`; records have the file's name.

    Args:
        dataset_dir: folder of the data; the other paths are relative to it.
        anno_path: the CSV, or None for images alone (test).
        labels_path: `label_descriptions.json`, read for the names and ids unless `class_names` are given.
        image_dir: folder of the images. Images there that the CSV does not name have no instance.
        split, fold, num_folds, part: which images to use, see `select_images`.
        allow_empty: keep images without an instance.
        empty_ratio: share of them among all images kept, in [0, 1), chosen by name and `seed`; otherwise all stay.
        min_instance_area: smaller instances, in pixels, are left out.
        drop_attributed: leave out instances with attributes.
        class_names: names of the categories 0, 1, …; attributes can then be any numbers, without names.
        on_error: "error" raises on faulty rows and images; "skip" logs them and leaves out the images, those of faulty rows
            altogether, since what is left of their annotations would call garments background.
        check_images: "header" compares Height and Width with the images' headers and looks for the files' ends, "exists"
            looks for the files, "none" neither.
        cache: keep the parsed CSV on disk, keyed by its content.
        seed: of the choices above.
    """

    HELP = HELP

    def __init__(
        self,
        dataset_dir: str = "dataset/fashion",
        anno_path: str | None = "train.csv",
        labels_path: str = "label_descriptions.json",
        image_dir: str = "train",
        split: str | None = None,
        fold: int | None = None,
        num_folds: int = 5,
        part: str = "all",
        allow_empty: bool = True,
        empty_ratio: float = -1.0,
        min_instance_area: int = 0,
        drop_attributed: bool = False,
        class_names: list[str] | None = None,
        on_error: str = "error",
        check_images: str = "header",
        cache: bool = True,
        seed: int = 0,
    ):
        super().__init__()
        self.dataset_dir, self.anno_path, self.image_dir = dataset_dir, anno_path, image_dir
        self.labels_path = labels_path
        self.split, self.fold, self.num_folds, self.part = split, fold, num_folds, part
        self.allow_empty, self.empty_ratio = allow_empty, empty_ratio
        self.min_instance_area, self.drop_attributed = min_instance_area, drop_attributed
        self.on_error = one_of(on_error, ON_ERROR, "on_error")
        self.check_images = one_of(check_images, IMAGE_CHECKS, "check_images")
        self.cache, self.seed = cache, seed
        self.given_names = list(class_names) if class_names else None
        self._labels: Labels | None = labels_of(class_names) if class_names else None
        choose.check_selection(split, fold, num_folds, part)

    @property
    def labels(self) -> Labels:
        """Read on first use. Raises: UserError where `labels_path` is missing or faulty."""
        if self._labels is None:
            self._demand_folder()
            path = os.path.join(self.dataset_dir, self.labels_path)
            try:
                self._labels = read_labels(path)
            except FileNotFoundError:
                raise UserError(
                    HELP.format(missing=f"{path} does not exist, which names the classes (labels_path; or set class_names).")
                ) from None
        return self._labels

    @property
    def class_names(self) -> list[str]:
        return self.labels.class_names

    @property
    def category_ids(self) -> list[int]:
        return self.labels.category_ids

    @property
    def attribute_names(self) -> dict[int, str]:
        """Names by attribute id; empty where nothing names them."""
        return self.labels.attribute_names or {}

    def _read(self) -> list[Record]:
        listed = self._listed_images()
        problems = Problems(self._source())
        instances = self._instances(problems)
        universe = sorted({*instances.names.tolist(), *listed})
        names = self._select(universe, instances)
        sizes = self._usable(names, set(listed), instances, problems)
        problems.settle(self.on_error)
        records = self._records_of({name: i for i, name in enumerate(universe)}, sizes, instances)
        return self._without_surplus(records)

    def _instances(self, problems: Problems) -> Instances:
        if not self.annotated:
            return read_instances((), self.labels, problems)
        path = self._source()
        try:
            return self._cached(path, problems) if self.cache else self._parsed(path, problems)
        except FileNotFoundError:
            raise self._missing(f"Annotation file {path}") from None
        except OSError as fault:
            raise UserError(f"{path}: cannot be read ({fault.strerror}).") from None

    def _cached(self, path: str, problems: Problems) -> Instances:
        # Hashing all of a gigabyte takes half a second once it is in memory, and misses no change; times of files do.
        parts = ("fashion", VERSION, self.category_ids, sorted(self.labels.attribute_names or [-1]))

        def read(own: Problems) -> dict[str, np.ndarray]:
            return self._parsed(path, own).arrays()

        return Instances(**cached_arrays(path, self.dataset_dir, parts, read, problems))

    def _parsed(self, path: str, problems: Problems) -> Instances:
        logger.info("%s: reading %.0f MiB of masks", path, os.path.getsize(path) / 2**20)
        return read_instances(read_rows(path, problems), self.labels, problems)

    def _select(self, universe: list[str], instances: Instances) -> list[str]:
        classes: dict[str, set[int]] = {}
        if self.fold is not None:
            names = instances.names.tolist()
            for image, label in zip(instances.image.tolist(), instances.label.tolist()):
                classes.setdefault(names[image], set()).add(label)
        return self._chosen(universe, classes)

    def _usable(
        self, names: list[str], listed: set[str], instances: Instances, problems: Problems
    ) -> dict[str, tuple[int, int]]:
        """(height, width) of the images that can be used."""
        annotated = dict(zip(instances.names.tolist(), zip(map(tuple, instances.sizes.tolist()), instances.row.tolist())))
        folder = self.image_folder
        usable = {}
        for name in names:
            if name in problems.images:
                # Their rows are named already, which is all that matters where faults are errors.
                if self.on_error == "skip":
                    problems.add("images left out altogether because of faulty rows", name)
                continue
            path = os.path.join(folder, name)
            size, row = annotated.get(name, ((0, 0), None))
            if size == (0, 0):
                try:
                    size = image_size(path)
                except UserError as fault:
                    problems.add("unreadable or missing images", f"{fault}" if row is None else f"{fault} (row {row})")
                    continue
            if image_is_usable(path, size, self.check_images, name in listed, problems, row):
                usable[name] = size
        return usable

    def _records_of(self, ids: dict[str, int], sizes: dict[str, tuple[int, int]], instances: Instances) -> list[Record]:
        chosen = self._wanted(instances)
        chosen = chosen[np.argsort(instances.image[chosen], kind="stable")]
        first = np.searchsorted(instances.image[chosen], np.arange(len(instances.names) + 1)).tolist()
        place = {name: i for i, name in enumerate(instances.names.tolist())}
        attributes = instances.attribute_sets()
        folder = self.image_folder
        records = []
        for name, (height, width) in sizes.items():
            at = place.get(name)
            own = chosen[:0] if at is None else chosen[first[at] : first[at + 1]]
            records.append(
                Record(
                    ids[name],
                    os.path.join(folder, name),
                    name,
                    height,
                    width,
                    instances.box[own],
                    instances.label[own],
                    instances.masks(own, height, width),
                    np.zeros(len(own), bool),
                    attributes=[attributes[kind] for kind in instances.kind[own].tolist()],
                )
            )
        return records

    def _wanted(self, instances: Instances) -> np.ndarray:
        """Positions (n,) int64 of the instances that `min_instance_area` and `drop_attributed` leave."""
        large = instances.area >= self.min_instance_area
        bare = ~instances.attributed() if self.drop_attributed else np.ones(len(large), bool)
        small = f"smaller than min_instance_area: {self.min_instance_area}"
        for kept, reason in ((large, small), (bare, "with attributes (drop_attributed)")):
            if not kept.all():
                logger.info("%s: %d of %d instances are %s and left out", self._source(), (~kept).sum(), len(kept), reason)
        return np.flatnonzero(large & bare)


def _represent(dumper: yaml.Dumper, dataset: FashionDataSet) -> yaml.Node:
    # Names that were read, written back as an argument, would take the place of the file, and its attributes be lost.
    names = inspect.signature(FashionDataSet).parameters
    return dumper.represent_mapping(
        "!FashionDataSet", {name: dataset.given_names if name == "class_names" else getattr(dataset, name) for name in names}
    )


yaml.add_representer(FashionDataSet, _represent)
