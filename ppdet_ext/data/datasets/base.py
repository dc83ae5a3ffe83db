"""What every data set of this package offers, whatever its files look like, and how its images are chosen."""

import logging
import os
from collections.abc import Mapping, Sequence

from ppdet_ext.data.images.check import IMAGE_CHECKS
from ppdet_ext.data.problems import Problems
from ppdet_ext.data.splits.selection import check_selection, keep_empty, select_images
from ppdet_ext.data.transforms.sample import Sample, sample_of
from ppdet_ext.errors import UserError, counted
from ppdet_ext.host.dataset import HostDataSet
from ppdet_ext.host.registry import one_of
from ppdet_ext.structures import Record

ON_ERROR = ("error", "skip")

logger = logging.getLogger("ppdet_ext")


class InstanceDataSet(HostDataSet):
    """A list of `Record`s that is read once, on `load()`.

    Subclasses take explicit arguments, keep each under its own name (ppdet writes them back to YAML), do no work in
    the constructor, implement `_read() -> list[Record]`, and have `class_names` and `category_ids`.
    """

    class_names: list[str]
    category_ids: list[int]

    def __init__(self) -> None:
        self._records: list[Record] | None = None
        # Faults of the annotations, once they are read.
        self.problems: Problems | None = None

    def load(self) -> "InstanceDataSet":
        """Read the annotations; a second call does nothing. Raises: UserError naming what is wrong with them."""
        if self._records is None:
            self._records = self._read()
        return self

    parse_dataset = load

    @property
    def records(self) -> list[Record]:  # type: ignore[override]
        if self._records is None:
            self.load()
        return self._records or []

    @property
    def annotated(self) -> bool:
        """Whether there are annotations at all, so that one can train on it."""
        return True

    @property
    def num_classes(self) -> int:
        return len(self.category_ids)

    def __len__(self) -> int:
        return len(self.records)

    def sample(self, index: int, targets: bool = True) -> Sample:
        """The undecoded sample of image `index`; without annotations where `targets` is false."""
        return sample_of(self.records[index], targets)

    @property
    def account(self) -> str:
        """What became of the annotations, in words, for the message that no object is left; "" where nothing is known."""
        return ""

    def _read(self) -> list[Record]:
        raise NotImplementedError


class SelectedDataSet(InstanceDataSet):
    """A data set of one annotation file and one folder of images, some of which are used.

    Args:
        dataset_dir: folder of the data; the other paths are relative to it.
        anno_path: the annotations, or None for images alone.
        image_dir: folder of the images.
        split, fold, num_folds, part: which images to use, see `select_images`.
        allow_empty: keep images without an object (a crowd is none).
        empty_ratio: share of them among all images kept, in [0, 1), chosen by name and `seed`; otherwise all stay.
        on_error: "error" raises on faulty annotations and images, "skip" leaves them out and logs them.
        check_images: see `image_is_usable`.
        seed: of the choices above.

    Raises: UserError for values that no data can go with.
    """

    # What an image without an object is without, and what is counted.
    EMPTY = OBJECTS = "instances"

    def __init__(
        self,
        dataset_dir: str,
        anno_path: str | None,
        image_dir: str,
        split: str | None,
        fold: int | None,
        num_folds: int,
        part: str,
        allow_empty: bool,
        empty_ratio: float,
        on_error: str,
        check_images: str,
        seed: int,
    ) -> None:
        super().__init__()
        self.dataset_dir, self.anno_path, self.image_dir = dataset_dir, anno_path, image_dir
        check_selection(split, fold, num_folds, part)
        self.split, self.fold, self.num_folds, self.part = split, fold, num_folds, part
        self.allow_empty, self.empty_ratio, self.seed = allow_empty, empty_ratio, seed
        self.on_error = one_of(on_error, ON_ERROR, "on_error")
        self.check_images = one_of(check_images, IMAGE_CHECKS, "check_images")

    @property
    def image_folder(self) -> str:
        return os.path.join(self.dataset_dir, self.image_dir)

    @property
    def chosen_in_words(self) -> str:
        """The keys that choose its images: "part train, fold 0 of 5 (from 0), split folds.csv"; "" where all are taken."""
        fold = None if self.fold is None else f"fold {self.fold} of {self.num_folds} (from 0)"
        part = None if self.part == "all" and fold is None else f"part {self.part}"
        return ", ".join(filter(None, (part, fold, self.split and f"split {self.split}")))

    def _source(self) -> str:
        """The file or folder that messages are about."""
        return os.path.join(self.dataset_dir, self.anno_path or self.image_dir)

    def _chosen(self, names: Sequence[str], classes: Mapping[str, set[int]]) -> list[str]:
        """Of all images those of the split, fold and part; `classes` of each are needed with a fold only."""
        return select_images(
            names,
            classes,
            split=None if self.split is None else os.path.join(self.dataset_dir, self.split),
            fold=self.fold,
            num_folds=self.num_folds,
            part=self.part,
            seed=self.seed,
        )

    def _without_surplus(self, records: list[Record], annotated: bool) -> list[Record]:
        """The records with an object, and as many of the others as are wanted. UserError if none is left."""
        if records and not annotated:
            logger.info("%s: %s without annotations, for prediction", self._source(), counted(len(records), "images"))
            return records
        empty = [record.name for record in records if not (~record.crowd).any()]
        kept = keep_empty(empty, len(records) - len(empty), self.empty_ratio, self.seed) if self.allow_empty else set()
        left_out = set(empty) - kept
        records = [record for record in records if record.name not in left_out]
        crowds = sum(int(record.crowd.sum()) for record in records)
        logger.info(
            "%s: %s, %d of them without %s (%d more left out), %s%s",
            self._source(),
            counted(len(records), "images"),
            len(kept),
            self.EMPTY,
            len(empty) - len(kept),
            counted(sum(len(record.crowd) for record in records) - crowds, self.OBJECTS),
            f", {counted(crowds, 'crowds')}" if crowds else "",
        )
        if not records:
            raise UserError(f"{self._source()}: no image is left to use. Check split, fold, allow_empty and on_error.")
        return records
