"""`RleCsvDataSet`: run-length encoded masks in a CSV whose columns the configuration describes."""

import inspect
import logging
from typing import Any

import yaml

from ppdet_ext.data.formats.picture_names import PictureNames
from ppdet_ext.data.formats.rle_csv import RleCsv
from ppdet_ext.data.formats.rle_presets import PRESETS, Preset, described_by, find_preset, guess_preset
from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_dataset

from .csv_base import CsvDataSet, check_size

logger = logging.getLogger("ppdet_ext")


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
        repeated: what several rows of one class in an image, or of one image, are where `rows` wants one: "union" (default),
            with a warning, or "error" (default of preset severstal).
        preset: name of a competition, see `PRESETS`. min_score: of a file of predictions, what scores less is left out.
        joined_name: where columns hold {name_1}, {name_2}, …, the text that makes a name of them; by default with "_" between.
        sizes_path: a CSV with each image's name, height and width, where no column tells them, see `read_sizes`.
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
        repeated: str | None = None,
        joined_name: str | None = None,
        sizes_path: str | None = None,
    ):
        choice = (split, fold, num_folds, part, allow_empty, empty_ratio, on_error, check_images, seed)
        super().__init__(dataset_dir, anno_path, image_dir, *choice)
        self.columns, self.rows, self.base, self.order, self.relative, self.blank = columns, rows, base, order, relative, blank
        self.given_names, self.given_ids, self.given_size = class_names, category_ids, (height, width)
        self.image_suffix, self.preset, self.file_pattern, self.file_id = image_suffix, preset, file_pattern, file_id
        self.repeated, self.joined_name, self.sizes_path = repeated, joined_name, sizes_path
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
        given = {key: getattr(self, key) for key in ("rows", "base", "order", "relative", "blank", "repeated", "joined_name")}
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
    def mask_files(self) -> str:  # type: ignore[override]
        return self.described.masks

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
