"""What data sets of one CSV and one folder of images have in common: where things are, and which images are used."""

import logging
import os
from collections.abc import Mapping, Sequence

from ppdet_ext.data.images.check import list_images
from ppdet_ext.data.splits.selection import keep_empty, select_images
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Record

from .base import InstanceDataSet

logger = logging.getLogger("ppdet_ext")


class CsvDataSet(InstanceDataSet):
    """Subclasses keep the arguments of the names below.

    Attributes:
        HELP: text with `{missing}`, how to get the data.
        EMPTY: what an image without an instance is without.
    """

    HELP: str
    EMPTY = "instances"

    dataset_dir: str
    anno_path: str | None
    image_dir: str
    split: str | None
    fold: int | None
    num_folds: int
    part: str
    allow_empty: bool
    empty_ratio: float
    check_images: str
    seed: int

    @property
    def annotated(self) -> bool:
        return self.anno_path is not None

    @property
    def image_folder(self) -> str:
        return os.path.join(self.dataset_dir, self.image_dir)

    def _source(self) -> str:
        """The file or folder that messages are about."""
        return os.path.join(self.dataset_dir, self.anno_path or self.image_dir)

    def _missing(self, what: str) -> UserError:
        return UserError(self.HELP.format(missing=f"{what} does not exist."))

    def _demand_folder(self) -> None:
        if not os.path.isdir(self.dataset_dir):
            raise self._missing(f"Data set folder {self.dataset_dir}")

    def _listed_images(self, sizes_are_known: bool = True) -> list[str]:
        """Pictures in the folder, which may be absent where neither it nor their headers are asked."""
        self._demand_folder()
        if os.path.isdir(self.image_folder):
            return list_images(self.image_folder)
        if self.check_images == "none" and self.annotated and sizes_are_known:
            return []
        raise self._missing(f"Image folder {self.image_folder}")

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

    def _without_surplus(self, records: list[Record]) -> list[Record]:
        """The records with an instance, and as many of the others as are wanted. UserError if none is left."""
        if records and not self.annotated:
            logger.info("%s: %d images without annotations, for prediction", self._source(), len(records))
            return records
        empty = [record.name for record in records if not record.masks]
        kept = keep_empty(empty, len(records) - len(empty), self.empty_ratio, self.seed) if self.allow_empty else set()
        records = [record for record in records if record.masks or record.name in kept]
        logger.info(
            "%s: %d images, %d of them without %s (%d more left out), %d instances",
            self._source(),
            len(records),
            len(kept),
            self.EMPTY,
            len(empty) - len(kept),
            sum(len(record.masks) for record in records),
        )
        if not records:
            raise UserError(f"{self._source()}: no image is left. Check split, fold, allow_empty and on_error.")
        return records
