"""What every metric offers, and the kind that is put together from one image's one class at a time."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from ppdet.core.workspace import register

from ppdet_ext.data.record import Record
from ppdet_ext.errors import UserError
from ppdet_ext.structures import Detections, Rle

METRICS: dict[str, type["Metric"]] = {}


def register_metric(cls: type["Metric"]) -> type["Metric"]:
    """Make a metric known to `metric:` and `--metric`; its options are the section of its name."""
    METRICS[cls.__name__] = cls
    return register(cls)


class Metric:
    """Collects the detections of a data set's images, then computes numbers.

        metric = SeverstalDice()
        metric.start(dataset.records, dataset.class_names, dataset.category_ids)
        for im_id, detections in predictions:
            metric.update(im_id, detections)
        numbers = metric.compute()      # {"SeverstalDice": [the number that counts, …]}
        print(metric.summary)

    Subclasses take their options in the constructor and implement `compute`, which also sets `summary`.
    Images without an update count as images in which nothing was found.
    """

    summary = ""

    def start(self, records: Sequence[Record], class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """Begin with nothing found. Raises: UserError when the records do not hold what the metric needs."""
        self.records = {record.im_id: record for record in records}
        if len(self.records) != len(records):
            raise UserError(f"{len(records) - len(self.records)} image ids occur twice in the data set")
        self.class_names, self.category_ids = list(class_names), list(map(int, category_ids))
        self.found: dict[int, Detections] = {}

    def update(self, im_id: int, detections: Detections) -> None:
        """Take the detections of one image; UserError where they do not fit the data set."""
        record = self.records.get(im_id)
        if record is None:
            raise UserError(f"predictions for image id {im_id}, which is not in the data set")
        if im_id in self.found:
            raise UserError(f"{record.name}: predictions were given twice for image id {im_id}")
        if (detections.height, detections.width) != (record.height, record.width):
            raise UserError(
                f"{record.name}: predictions for {detections.height}x{detections.width}, the image has "
                f"{record.height}x{record.width} pixels"
            )
        if len(detections) and not 0 <= detections.labels.min() <= detections.labels.max() < len(self.class_names):
            raise UserError(
                f"{record.name}: predicted label {detections.labels.max()} of a model with another number "
                f"of classes; the data set has {len(self.class_names)}"
            )
        self.found[im_id] = detections

    def compute(self) -> dict[str, list[float]]:
        """Named lists of numbers; of the first list, the first number is the one that counts (higher is better)."""
        raise NotImplementedError


class CellMetric(Metric):
    """A metric that is put together from cells, one for each image and class.

    Subclasses implement `prepare`, `cell` and `combine`. Searching thresholds calls `prepare` once per image, class and mask
    threshold, `cell` once per selection of the masks, `combine` once per setting.
    """

    def prepare(self, truth: list[Rle], found: list[Rle]) -> Any:
        """Whatever makes `cell` cheap. Args: masks of the image's size, of one class; `found` by falling score."""
        raise NotImplementedError

    def cell(self, prepared: Any, scores: np.ndarray, chosen: np.ndarray) -> Any:
        """What one image and class contribute if only some of the masks are submitted.

        Args:
            prepared: from `prepare`.
            scores: (n,) of all masks that were given to `prepare`.
            chosen: ascending positions of those that count.
        """
        raise NotImplementedError

    def combine(self, cells: list[list[Any]]) -> dict[str, list[float]]:
        """The numbers (see `compute`) from the cells of all images, in the data set's order, and all classes."""
        raise NotImplementedError

    def compute(self) -> dict[str, list[float]]:
        cells = []
        for im_id, record in self.records.items():
            found = self.found.get(im_id) or Detections.empty(record.height, record.width)
            if found.masks is None:
                raise UserError(f"{record.name}: predictions have no masks, which {type(self).__name__} compares.")
            cells.append([self._cell_of(record, found, label) for label in range(len(self.class_names))])
        return self.combine(cells)

    def _cell_of(self, record: Record, found: Detections, label: int) -> Any:
        truth = [mask for mask, own in zip(record.masks, record.labels.tolist()) if own == label]
        order = np.argsort(-found.scores, kind="stable")
        own = order[found.labels[order] == label]
        prepared = self.prepare(truth, [found.masks[i] for i in own])
        return self.cell(prepared, found.scores[own], np.arange(len(own)))
