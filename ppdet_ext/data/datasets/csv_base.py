"""`CsvDataSet`: what data sets of a CSV of run-length encoded masks have in common."""

import contextlib
import logging
import os
import re
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import numpy as np

from ppdet_ext.data.formats.csv_rows import layout_of, read_rows
from ppdet_ext.data.formats.instance_rows import read_instances
from ppdet_ext.data.formats.label_descriptions import Labels
from ppdet_ext.data.formats.packed_masks import VERSION, Instances, Size
from ppdet_ext.data.formats.picture_names import PictureNames
from ppdet_ext.data.formats.rle_csv import RleCsv
from ppdet_ext.data.formats.size_table import read_sizes, size_in
from ppdet_ext.data.images.check import describe_below, images_below, list_images
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.data.problems import Problems, cached_arrays
from ppdet_ext.errors import UserError, counted
from ppdet_ext.structures import Record

from .base import SelectedDataSet
from .csv_records import account_for_absent, records_of, renamed, usable, wanted

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
    min_score: float = 0.0
    pictures: PictureNames | None = None
    # Regular expression of the names of files among the pictures that are none; a CSV of sizes.
    mask_files: str = ""
    sizes_path: str | None = None
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
        main = self.layouts[0]  # Asked before names are looked up: a header may tell how that is done.
        listed, below = self._pictures_of(listed), self._pictures_of(images_below(self.image_folder))
        self.problems = problems = Problems(self._source())
        if self.pictures is not None:
            self.pictures.learn(listed, below)
        instances = self._instances(listed, problems)
        if self.pictures is not None:
            instances = renamed(instances, self.pictures, problems)
        listed += self._used_below(below, set(instances.names.tolist()))
        universe = sorted({*instances.names.tolist(), *listed})
        names = self._chosen(universe, instances.classes() if self.fold is not None else {})
        if self.check_images != "none" or len(instances.unsized):
            account_for_absent(instances.masked(), {*listed, *names}, problems, self.image_folder)
        size = None if self.height is None or self.width is None else (self.height, self.width)
        sizes = usable(names, set(listed), instances, problems, self.image_folder, size, self.check_images, self.on_error)
        problems.settle(self.on_error)
        chosen = wanted(instances, self.min_instance_area, self.drop_attributed, self._source(), main.rows)
        ids = {name: i for i, name in enumerate(universe)}
        records = records_of(instances, chosen, sizes, ids, self.image_folder, main.has_attributes)
        return self._without_surplus(records, self.annotated)

    def _pictures_of(self, files: list[str]) -> list[str]:
        """Files without those that are masks, of which the log tells."""
        if not self.mask_files:
            return files
        kept = [name for name in files if not re.fullmatch(self.mask_files, os.path.basename(name))]
        if len(kept) < len(files):
            logger.info("%s: %s like %s left out", self.image_folder, counted(len(files) - len(kept), "masks"), self.mask_files)
        return kept

    def _used_below(self, below: list[str], named: set[str]) -> list[str]:
        """Pictures in sub-folders, of those that the CSV names, by their path or a pattern; a warning counts the others."""
        part = named if self.pictures is None else named.union(self.pictures.named())
        others = [name for name in below if name not in part]
        if others:
            logger.warning("%s: %s", self.image_folder, describe_below(others))
        return [name for name in below if name in part]

    def _instances(self, listed: list[str], problems: Problems) -> Instances:
        # Asked first: a data set without its list of classes is told so, be there a CSV or not.
        path, labels = self._source(), self.labels
        if not self.annotated:
            return read_instances((), self.layouts[0], labels, problems)
        with self._reading(path):
            layout = layout_of(path, self.layouts)
            return self._kept(path, layout, listed, problems)

    @contextlib.contextmanager
    def _reading(self, path: str) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError:
            raise self._missing(f"Annotation file {path}", "dataset_dir and anno_path name") from None
        except OSError as fault:
            raise UserError(f"{path}: cannot be read ({fault.strerror}).") from None

    def _kept(self, path: str, layout: RleCsv, listed: list[str], problems: Problems) -> Instances:
        """What the CSV holds, read or from the cache."""
        size_of, measured = self._sizes(layout, listed)

        def read(own: Problems) -> dict[str, np.ndarray]:
            size = os.path.getsize(path)
            amount = f"{size / 2**20:.0f} MiB" if size >= 2**20 else f"{max(1, round(size / 1000))} kB"
            logger.info("%s: reading %s of masks", path, amount)
            rows = read_rows(path, layout, self.image_suffix, own, self.min_score)
            return read_instances(rows, layout, self.labels, own, size_of).arrays()

        if not self.cache:
            return Instances(**read(problems))
        labels = self.labels
        # Hashing all of a gigabyte takes half a second once it is in memory, and misses no change; times of files do.
        parts = ("rle_csv", VERSION, layout, self.image_suffix, self.min_score, labels.class_names, labels.category_ids)
        attributes = sorted(labels.attribute_names or [-1])
        return Instances(**cached_arrays(path, self.dataset_dir, (*parts, attributes, measured), read, problems))

    def _sizes(self, layout: RleCsv, listed: list[str]) -> tuple[Callable[[str], Size | None] | None, object]:
        """How to ask for an image's size where no column tells it, and what the answers are made of."""
        if "height" in layout.fields:
            return None, None
        if self.height is not None and self.width is not None and self.sizes_path is None:
            size = self.height, self.width
            return lambda name: size, size
        pictures = self.pictures
        found: dict[str, Size] = {} if pictures is None else dict(pictures.sizes)
        told = read_sizes(os.path.join(self.dataset_dir, self.sizes_path)) if self.sizes_path is not None else {}
        for name in listed if pictures is None else dict.fromkeys([*listed, *pictures.named()]):
            try:
                found[name] = found.get(name) or size_in(told, name) or image_size(os.path.join(self.image_folder, name))
            except UserError:
                # Named among the unreadable images when they are checked.
                continue
        if pictures is None:
            return found.get, found
        ask = lambda name: found.get(pictures.any_file_of(name)) or size_in(told, name)  # noqa: E731
        return ask, (found, told, pictures.described)


def check_size(height: int | None, width: int | None) -> None:
    """UserError unless both or neither are given."""
    if (height is None) != (width is None):
        raise UserError("height and width: set both, or neither (null reads them from the images).")
