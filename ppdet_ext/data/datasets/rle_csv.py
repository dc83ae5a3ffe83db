"""`RleCsvDataSet`: run-length encoded masks in a CSV whose columns the configuration describes."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

import numpy as np

from ppdet_ext.data.formats.csv_rows import layout_of, read_rows
from ppdet_ext.data.formats.label_descriptions import Labels
from ppdet_ext.data.formats.packed_masks import VERSION, Instances, Size, read_instances
from ppdet_ext.data.formats.rle_csv import RleCsv
from ppdet_ext.data.images.check import describe_below, image_is_usable, images_below, list_images
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.data.problems import Problems, cached_arrays
from ppdet_ext.errors import UserError, counted
from ppdet_ext.host.registry import register_dataset
from ppdet_ext.structures import Record

from .base import SelectedDataSet

logger = logging.getLogger("ppdet_ext")


class CsvDataSet(SelectedDataSet):
    """What data sets of a CSV have in common; arguments as of `RleCsvDataSet`.

    layouts: what the CSV may look like; the first is what is written. labels: what its classes mean.
    height, width: of all images, where no column tells it; None reads each image's header. image_suffix: of names without one.
    """

    layouts: Sequence[RleCsv]
    height: int | None = None
    width: int | None = None
    image_suffix: str = ""
    min_instance_area: int
    cache: bool
    drop_attributed: bool = False
    # Where the data that anybody can fetch lies, and how, as a text with `{missing}`.
    SHIPPED: ClassVar[str | None] = None
    HELP: ClassVar[str] = "{missing}"

    @property
    def labels(self) -> Labels:
        """Names and ids of the classes. Raises: UserError where they cannot be read."""
        return Labels(list(self.class_names), list(self.category_ids), None)

    @property
    def annotated(self) -> bool:
        return self.anno_path is not None

    def _missing(self, what: str, keys: str) -> UserError:
        if self.SHIPPED is not None and os.path.normpath(self.dataset_dir).endswith(os.path.normpath(self.SHIPPED)):
            return UserError(self.HELP.format(missing=f"{what} does not exist."))
        found = sorted(os.listdir(self.dataset_dir))[:10] if os.path.isdir(self.dataset_dir) else []
        there = f" In {self.dataset_dir} there are {', '.join(found)}." if found else ""
        return UserError(f"{what} does not exist; {keys} it.{there} See dataset/README.md for what belongs where.")

    def _demand_folder(self) -> None:
        if not os.path.isdir(self.dataset_dir):
            raise self._missing(f"Data set folder {self.dataset_dir}", "dataset_dir names")

    def _listed_images(self) -> list[str]:
        """Pictures in the folder, which may be absent where neither it nor their headers are asked."""
        self._demand_folder()
        if os.path.isdir(self.image_folder):
            return list_images(self.image_folder)
        sizes_are_known = self.height is not None or "height" in self.layouts[0].fields
        if self.check_images == "none" and self.annotated and sizes_are_known:
            return []
        raise self._missing(f"Image folder {self.image_folder}", "dataset_dir and image_dir name")

    def _read(self) -> list[Record]:
        listed = self._listed_images()
        problems = Problems(self._source())
        instances = self._instances(listed, problems)
        listed += self._named_below(set(instances.names.tolist()))
        universe = sorted({*instances.names.tolist(), *listed})
        names = self._select(universe, instances)
        if self.check_images != "none":
            self._warn_of_absent(instances, {*listed, *names})
        sizes = self._usable(names, set(listed), instances, problems)
        problems.settle(self.on_error)
        records = self._records_of({name: i for i, name in enumerate(universe)}, sizes, instances)
        return self._without_surplus(records, self.annotated)

    def _warn_of_absent(self, instances: Instances, known: set[str]) -> None:
        """Images that the CSV has masks of, but neither the folder nor the choice: names that nearly fit would go unnoticed."""
        names = instances.names.tolist()
        absent = [names[i] for i in np.unique(instances.image).tolist() if names[i] not in known]
        if absent:
            logger.warning(
                "%s: of %s with masks there is no picture in %s, and none is chosen: %s%s",
                self._source(),
                counted(len(absent), "images"),
                self.image_folder,
                ", ".join(absent[:10]),
                " …" if len(absent) > 10 else "",
            )

    def _named_below(self, named: set[str]) -> list[str]:
        """Pictures in sub-folders, of those that the CSV names by their path; a warning counts the others."""
        below = images_below(self.image_folder)
        others = [name for name in below if name not in named]
        if others:
            logger.warning("%s: %s", self.image_folder, describe_below(others))
        return [name for name in below if name in named]

    def _instances(self, listed: list[str], problems: Problems) -> Instances:
        # Asked first: a data set without its list of classes is told so, be there a CSV or not.
        path, labels = self._source(), self.labels
        if not self.annotated:
            return read_instances((), self.layouts[0], labels, problems)
        try:
            layout = layout_of(path, self.layouts)
            return self._kept(path, layout, listed, problems)
        except FileNotFoundError:
            raise self._missing(f"Annotation file {path}", "dataset_dir and anno_path name") from None
        except OSError as fault:
            raise UserError(f"{path}: cannot be read ({fault.strerror}).") from None

    def _kept(self, path: str, layout: RleCsv, listed: list[str], problems: Problems) -> Instances:
        """What the CSV holds, read or from the cache."""
        size_of, measured = self._sizes(layout, listed)

        def read(own: Problems) -> dict[str, np.ndarray]:
            logger.info("%s: reading %.0f MiB of masks", path, os.path.getsize(path) / 2**20)
            return read_instances(read_rows(path, layout, self.image_suffix, own), layout, self.labels, own, size_of).arrays()

        if not self.cache:
            return Instances(**read(problems))
        labels = self.labels
        # Hashing all of a gigabyte takes half a second once it is in memory, and misses no change; times of files do.
        parts = ("rle_csv", VERSION, layout, self.image_suffix, labels.class_names, labels.category_ids)
        attributes = sorted(labels.attribute_names or [-1])
        return Instances(**cached_arrays(path, self.dataset_dir, (*parts, attributes, measured), read, problems))

    def _sizes(self, layout: RleCsv, listed: list[str]) -> tuple[Callable[[str], Size | None] | None, object]:
        """How to ask for an image's size where no column tells it, and what the answers are made of."""
        if "height" in layout.fields:
            return None, None
        if self.height is not None and self.width is not None:
            size = self.height, self.width
            return lambda name: size, size
        found: dict[str, Size] = {}
        for name in listed:
            try:
                found[name] = image_size(os.path.join(self.image_folder, name))
            except UserError:
                # Named among the unreadable images when they are checked.
                continue
        return found.get, found

    def _select(self, universe: list[str], instances: Instances) -> list[str]:
        classes: dict[str, set[int]] = {}
        if self.fold is not None:
            names = instances.names.tolist()
            for image, label in zip(instances.image.tolist(), instances.label.tolist()):
                classes.setdefault(names[image], set()).add(label)
        return self._chosen(universe, classes)

    def _usable(self, names: list[str], listed: set[str], instances: Instances, problems: Problems) -> dict[str, Size]:
        """(height, width) of the images that can be used."""
        annotated = dict(zip(instances.names.tolist(), zip(map(tuple, instances.sizes.tolist()), instances.row.tolist())))
        usable, folder = {}, self.image_folder
        for name in names:
            if name in problems.images:
                # Their rows are named already, which is all that matters where faults are errors.
                if self.on_error == "skip":
                    problems.add("images left out altogether because of faulty rows", name)
                continue
            path = os.path.join(folder, name)
            size, row = annotated.get(name, ((0, 0), None))
            if self.height is not None and self.width is not None:
                size = self.height, self.width
            if size == (0, 0):
                try:
                    size = image_size(path)
                except UserError as fault:
                    problems.add("unreadable or missing images", f"{fault}" if row is None else f"{fault} (row {row})")
                    continue
            if image_is_usable(path, size, self.check_images, name in listed, problems, row):
                usable[name] = size
        return usable

    def _records_of(self, ids: Mapping[str, int], sizes: Mapping[str, Size], instances: Instances) -> list[Record]:
        chosen = self._wanted(instances)
        chosen = chosen[np.argsort(instances.image[chosen], kind="stable")]
        first = np.searchsorted(instances.image[chosen], np.arange(len(instances.names) + 1)).tolist()
        place = {name: i for i, name in enumerate(instances.names.tolist())}
        attributes = instances.attribute_sets() if self.layouts[0].has_attributes else None
        records, folder = [], self.image_folder
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
                    attributes=None if attributes is None else [attributes[kind] for kind in instances.kind[own].tolist()],
                )
            )
        return records

    def _wanted(self, instances: Instances) -> np.ndarray:
        """Positions (n,) int64 of the instances that `min_instance_area` and `drop_attributed` leave."""
        large = instances.area >= self.min_instance_area
        bare = ~instances.attributed() if self.drop_attributed else np.ones(len(large), bool)
        things = "instances" if self.layouts[0].rows == "instance" else "components"
        small = f"smaller than min_instance_area: {self.min_instance_area}"
        for kept, reason in ((large, small), (bare, "with attributes (drop_attributed)")):
            lost = int((~kept).sum())
            if lost:
                what = f"{lost} of {counted(len(kept), things)} {'is' if lost == 1 else 'are'}"
                logger.info("%s: %s %s and left out", self._source(), what, reason)
        return np.flatnonzero(large & bare)


@register_dataset
class RleCsvDataSet(CsvDataSet):
    """Masks in a CSV: columns that `columns` describes, as those of most competitions (dataset/README.md has examples).

    Args:
        dataset_dir: folder of the data; the other paths are relative to it.
        columns: header -> text with {name}, {rle}, {class_id} and others, see `RleCsv`; further columns do not matter.
        rows: what a row is: an "instance", all of a "class" in an image, or all of an "image"; of the latter two every
            8-connected component becomes an instance.
        base: number of the first pixel, 1 or 0.
        order: of the pixels, down the "columns" or along the "rows".
        relative: whether a run's start counts from the end of the run before.
        blank: cells that say that there is no mask, such as "-1", beside blank ones.
        class_names: by label; {class_name} holds one of them.
        category_ids: by label, what {class_id} holds; 1, 2, … by default.
        anno_path: the CSV, or None for images alone (test).
        image_dir: folder of the images. Images there that the CSV does not name have no instance.
        image_suffix: of the images' files (".png"), where the CSV gives names without one.
        height, width: of all images where no column tells; None reads each image's header.
        split, fold, num_folds, part, allow_empty, empty_ratio, min_instance_area, on_error, check_images, cache, seed: as of
            `SteelDataSet`.
    """

    def __init__(
        self,
        dataset_dir: str,
        columns: dict,
        class_names: list[str],
        rows: str = "instance",
        base: int = 1,
        order: str = "columns",
        relative: bool = False,
        blank: list[str] | None = None,
        category_ids: list[int] | None = None,
        anno_path: str | None = "train.csv",
        image_dir: str = "train",
        image_suffix: str = "",
        height: int | None = None,
        width: int | None = None,
        split: str | None = None,
        fold: int | None = None,
        num_folds: int = 5,
        part: str = "all",
        allow_empty: bool = True,
        empty_ratio: float = -1.0,
        min_instance_area: int = 0,
        on_error: str = "error",
        check_images: str = "header",
        cache: bool = True,
        seed: int = 0,
    ):
        choice = (split, fold, num_folds, part, allow_empty, empty_ratio, on_error, check_images, seed)
        super().__init__(dataset_dir, anno_path, image_dir, *choice)
        self.columns, self.rows, self.base, self.order, self.relative = columns, rows, base, order, relative
        self.blank = list(blank or ())
        self.class_names = list(class_names)
        self.category_ids = list(category_ids or range(1, len(self.class_names) + 1))
        self.image_suffix, self.height, self.width = image_suffix, height, width
        self.min_instance_area, self.cache = min_instance_area, cache
        self.layouts = (RleCsv(columns, rows, base, order, relative, tuple(self.blank)),)
        check_size(height, width)
        self._check_classes()

    def _check_classes(self) -> None:
        if len(self.category_ids) != len(self.class_names):
            raise UserError("category_ids and class_names: one for each class, in the same order.")
        if self.layouts[0].class_field is None and len(self.class_names) != 1:
            raise UserError(f"class_names: {len(self.class_names)} classes, but columns say of none which class a row is of.")


def check_size(height: int | None, width: int | None) -> None:
    """UserError unless both or neither are given."""
    if (height is None) != (width is None):
        raise UserError("height and width: set both, or neither (null reads them from the images).")
