"""`RleCsvDataSet`: run-length encoded masks in a CSV whose columns the configuration describes."""

import contextlib
import inspect
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np
import yaml

from ppdet_ext.data.formats.csv_rows import layout_of, read_rows
from ppdet_ext.data.formats.label_descriptions import Labels
from ppdet_ext.data.formats.packed_masks import VERSION, Instances, Size, read_instances
from ppdet_ext.data.formats.picture_names import PictureNames
from ppdet_ext.data.formats.rle_csv import RleCsv
from ppdet_ext.data.formats.rle_presets import PRESETS, Preset, described_by, find_preset, guess_preset
from ppdet_ext.data.images.check import describe_below, images_below, list_images
from ppdet_ext.data.images.decode import image_size
from ppdet_ext.data.problems import Problems, cached_arrays
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_dataset
from ppdet_ext.structures import Record

from .base import SelectedDataSet
from .csv_records import records_of, renamed, usable, wanted, warn_of_absent

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
        problems, below = Problems(self._source()), images_below(self.image_folder)
        if self.pictures is not None:
            self.pictures.learn(listed, below)
        instances = self._instances(listed, problems)
        if self.pictures is not None:
            instances = renamed(instances, self.pictures, problems)
        listed += self._used_below(below, set(instances.names.tolist()))
        universe = sorted({*instances.names.tolist(), *listed})
        names = self._chosen(universe, instances.classes() if self.fold is not None else {})
        if self.check_images != "none":
            warn_of_absent(instances, {*listed, *names}, self._source(), self.image_folder)
        size = None if self.height is None or self.width is None else (self.height, self.width)
        sizes = usable(names, set(listed), instances, problems, self.image_folder, size, self.check_images, self.on_error)
        problems.settle(self.on_error)
        chosen = wanted(instances, self.min_instance_area, self.drop_attributed, self._source(), main.rows)
        ids = {name: i for i, name in enumerate(universe)}
        records = records_of(instances, chosen, sizes, ids, self.image_folder, main.has_attributes)
        return self._without_surplus(records, self.annotated)

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
            logger.info("%s: reading %.0f MiB of masks", path, os.path.getsize(path) / 2**20)
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
        if self.height is not None and self.width is not None:
            size = self.height, self.width
            return lambda name: size, size
        pictures = self.pictures
        found: dict[str, Size] = {} if pictures is None else dict(pictures.sizes)
        for name in listed if pictures is None else dict.fromkeys([*listed, *pictures.named()]):
            try:
                found[name] = found.get(name) or image_size(os.path.join(self.image_folder, name))
            except UserError:
                # Named among the unreadable images when they are checked.
                continue
        if pictures is None:
            return found.get, found
        return lambda name: found.get(pictures.any_file_of(name)), (found, pictures.described)


@register_dataset
class RleCsvDataSet(CsvDataSet):
    """Masks in a CSV: that of a competition by name, or what `columns` describes (dataset/README.md has examples).

    Without `preset` and `columns` the header tells the competition, which the log says. What is given beside a preset goes
    before what that says.

    Args:
        dataset_dir: folder of the data; the other paths are relative to it.
        columns: header -> text with {name}, {rle}, {class_id} and others, see `RleCsv`; further columns do not matter.
        class_names: by label; {class_name} holds one of them. Presets have those of their competition.
        rows: what a row is: an "instance" (default), all of a "class" in an image, or all of an "image"; of the latter
            two every 8-connected component becomes an instance.
        base, order, relative: number of the first pixel, 1 (default) or 0; pixels counted down the "columns" (default) or along
            the "rows"; whether a run's start counts from the end of the run before.
        blank: cells that say that there is no mask, such as "-1", beside blank ones and "nan".
        category_ids: by label, what {class_id} holds; 1, 2, … by default.
        anno_path: the CSV, or None for images alone (test).
        image_dir: folder of the images. Images there that the CSV does not name have no instance.
        image_suffix: of the images' files, where names are without one; by default that of the only file of that name.
        height, width: of all images where no column tells; None reads each image's header.
        split, fold, num_folds, part, allow_empty, empty_ratio, min_instance_area, on_error, check_images, cache, seed: as of
            `SteelDataSet`.
        preset: name of a competition, see `PRESETS`. min_score: of a file of predictions, what scores less is left out.
        file_pattern, file_id: how paths of pictures make names in the CSV, and tell sizes, see `PictureNames`.
    """

    def __init__(
        self,
        dataset_dir: str,
        columns: dict | None = None,
        class_names: list[str] | None = None,
        rows: str | None = None,
        base: int | None = None,
        order: str | None = None,
        relative: bool | None = None,
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
        preset: str | None = None,
        file_pattern: str | None = None,
        file_id: str | None = None,
        min_score: float = 0.0,
    ):
        choice = (split, fold, num_folds, part, allow_empty, empty_ratio, on_error, check_images, seed)
        super().__init__(dataset_dir, anno_path, image_dir, *choice)
        self.columns, self.rows, self.base, self.order, self.relative, self.blank = columns, rows, base, order, relative, blank
        self.given_names, self.given_ids, self.given_size = class_names, category_ids, (height, width)
        self.image_suffix, self.preset, self.file_pattern, self.file_id = image_suffix, preset, file_pattern, file_id
        self.min_instance_area, self.cache, self.min_score = min_instance_area, cache, min_score
        check_size(height, width)
        self._described: Preset | None = None
        self.competition = preset
        if preset is not None or columns is not None:
            own = self._describe(find_preset(preset) if preset is not None else None).layouts[0]
            if preset is None:
                self.rows, self.base, self.order, self.relative = own.rows, own.base, own.order, own.relative

    def _describe(self, preset: Preset | None) -> Preset:
        """Make one description of the preset and of what is given. Raises: UserError where they make none."""
        given = {"rows": self.rows, "base": self.base, "order": self.order, "relative": self.relative, "blank": self.blank}
        self._described = described = described_by(
            preset, self.columns, given, self.given_names or (), self.given_ids or (), self.given_size
        )
        pattern = self.file_pattern if self.file_pattern is not None else described.file_pattern
        self.pictures = PictureNames(pattern, self.file_id or described.file_id)
        return described

    @property
    def described(self) -> Preset:
        """What the CSV looks like; without preset and columns as its header says. Raises: UserError where that is unknown."""
        if self._described is not None:
            return self._described
        if self.anno_path is None:
            raise UserError(f"{self._source()}: set preset or columns; there is no CSV whose header would tell them.")
        with self._reading(self._source()):
            self.competition = name = guess_preset(self._source())
        logger.info("%s: has the columns of preset: %s, and is read so", self._source(), name)
        return self._describe(PRESETS[name])

    @property
    def layouts(self) -> tuple[RleCsv, ...]:  # type: ignore[override]
        return self.described.layouts

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        return list(self.described.class_names)

    @property
    def category_ids(self) -> list[int]:  # type: ignore[override]
        first = self.described.first_id
        return list(self.given_ids or range(first, first + len(self.described.class_names)))

    @property
    def height(self) -> int | None:  # type: ignore[override]
        return self.described.height

    @property
    def width(self) -> int | None:  # type: ignore[override]
        return self.described.width


def _represent(dumper: yaml.Dumper, dataset: RleCsvDataSet) -> yaml.Node:
    # As it was given: what a preset says would go before a later one.
    own: dict[str, Any] = {"class_names": dataset.given_names, "category_ids": dataset.given_ids}
    own |= {"height": dataset.given_size[0], "width": dataset.given_size[1]}
    names = inspect.signature(RleCsvDataSet).parameters
    return dumper.represent_mapping(
        "!RleCsvDataSet", {name: own[name] if name in own else getattr(dataset, name) for name in names}
    )


yaml.add_representer(RleCsvDataSet, _represent)


def check_size(height: int | None, width: int | None) -> None:
    """UserError unless both or neither are given."""
    if (height is None) != (width is None):
        raise UserError("height and width: set both, or neither (null reads them from the images).")
