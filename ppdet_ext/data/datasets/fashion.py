"""`FashionDataSet`: Kaggle's iMaterialist Fashion, one CSV row per garment or part of one."""

import inspect
import os

import yaml

from ppdet_ext.data.formats.label_descriptions import Labels, labels_of, read_labels
from ppdet_ext.data.formats.rle_csv import IMATERIALIST
from ppdet_ext.host.registry import register_dataset

from .csv_base import CsvDataSet

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

    SHIPPED, HELP = "dataset/fashion", HELP
    layouts = IMATERIALIST
    image_suffix = ".jpg"

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
        choice = (split, fold, num_folds, part, allow_empty, empty_ratio, on_error, check_images, seed)
        super().__init__(dataset_dir, anno_path, image_dir, *choice)
        self.labels_path, self.drop_attributed = labels_path, drop_attributed
        self.min_instance_area, self.cache = min_instance_area, cache
        self.given_names = list(class_names) if class_names else None
        self._labels: Labels | None = labels_of(class_names) if class_names else None

    @property
    def labels(self) -> Labels:
        """Read on first use. Raises: UserError where `labels_path` is missing or faulty."""
        if self._labels is None:
            self._demand_folder()
            path = os.path.join(self.dataset_dir, self.labels_path)
            try:
                self._labels = read_labels(path)
            except FileNotFoundError:
                what = f"{path}, which names the classes (or set class_names),"
                raise self._missing(what, "dataset_dir and labels_path name") from None
        return self._labels

    @property
    def class_names(self) -> list[str]:  # type: ignore[override]
        return self.labels.class_names

    @property
    def category_ids(self) -> list[int]:  # type: ignore[override]
        return self.labels.category_ids

    @property
    def attribute_names(self) -> dict[int, str]:
        """Names by attribute id; empty where nothing names them."""
        return self.labels.attribute_names or {}


def _represent(dumper: yaml.Dumper, dataset: FashionDataSet) -> yaml.Node:
    # Names that were read, written back as an argument, would take the place of the file, and its attributes be lost.
    names = inspect.signature(FashionDataSet).parameters
    return dumper.represent_mapping(
        "!FashionDataSet", {name: dataset.given_names if name == "class_names" else getattr(dataset, name) for name in names}
    )


yaml.add_representer(FashionDataSet, _represent)
