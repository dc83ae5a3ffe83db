"""`SteelDataSet`: Kaggle's Severstal steel sheets, one CSV row per image and defect class."""

from ppdet_ext.data.formats.rle_csv import SEVERSTAL
from ppdet_ext.host.registry import register_dataset

from .csv_base import CsvDataSet, check_size

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

    SHIPPED, HELP = "dataset/steel", HELP
    EMPTY = "defects"
    layouts = SEVERSTAL

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
        choice = (split, fold, num_folds, part, allow_empty, empty_ratio, on_error, check_images, seed)
        super().__init__(dataset_dir, anno_path, image_dir, *choice)
        check_size(height, width)
        self.height, self.width = height, width
        self.class_names = list(class_names or (f"defect_{i}" for i in range(1, 5)))
        self.category_ids = list(range(1, len(self.class_names) + 1))
        self.min_instance_area, self.cache = min_instance_area, cache
