"""COCO's average precision and recall of boxes and masks, computed in memory."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ppdet_ext.data.formats.result_files import BOX_FILE, MASK_FILE, coco_results
from ppdet_ext.errors import UserError, counted
from ppdet_ext.files.atomic import write_atomically
from ppdet_ext.host.registry import METRICS
from ppdet_ext.structures import Detections, Record

from .coco_data import ground_truth, no_search_for_cycles, predicted
from .coco_engine import AUTO, COUNTED, CocoScores, choose_evaluator, that_count
from .metric import Metric

logger = logging.getLogger("ppdet_ext")

FILE_NAMES = {"bbox": BOX_FILE, "segm": MASK_FILE}
# Of the twelve numbers, in pycocotools' order.
NUMBER_NAMES = (
    "AP", "AP50", "AP75", "AP_small", "AP_medium", "AP_large",
    "AR_1", "AR_10", "AR_100", "AR_small", "AR_medium", "AR_large",
)  # fmt: skip


class ClassRow(NamedTuple):
    """One line of the per-class table; AP is -1 for a class without instances in the data set."""

    name: str
    ap: float
    ap50: float
    instances: int


class CocoMetric(Metric):
    """Collects the detections of a data set's images, then computes COCO's 12 numbers for boxes and masks.

        metric = CocoMetric(dataset.records, dataset.class_names, dataset.category_ids)
        for im_id, detections in predictions:
            metric.update(im_id, detections)
        numbers = metric.compute()          # {"bbox": [AP, AP50, AP75, …], "segm": […]}
        print(metric.summary)

    At most 100 detections of a class in an image count. Crowd annotations are regions to ignore: what is found there is neither
    right nor wrong. As in pycocotools, numbers are -1 where nothing is annotated (also per size range) and 0 where
    something is but nothing was found. Images without an update count as images in which nothing was found.
    """

    def __init__(
        self,
        records: Sequence[Record] | None = None,
        class_names: Sequence[str] = (),
        category_ids: Sequence[int] = (),
        iou_types: Sequence[str] | None = None,
        evaluator: str = AUTO,
    ) -> None:
        """Where `records` are given, `start` need not be called.

        iou_types: "bbox", "segm" or both, which is the default where `records` are given; otherwise it is whatever the first
            image's predictions hold.
        evaluator: auto, hotcoco or pycocotools, see `choose_evaluator`; the numbers are the same.

        UserError for two records of one id, or category ids that are not one distinct id per class.
        """
        if iou_types is not None and (not iou_types or not set(iou_types) <= set(FILE_NAMES)):
            raise ValueError(f"iou_types are of {sorted(FILE_NAMES)}, not {iou_types}")
        self._evaluator = choose_evaluator(evaluator)
        self._asked = iou_types if records is None else iou_types or tuple(FILE_NAMES)
        if records is not None:
            self.start(records, class_names, category_ids)

    @property
    def engine(self) -> str:
        """Package and version that compute the numbers."""
        return self._evaluator.title

    def start(self, records: Sequence[Record], class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        super().start(records, class_names, category_ids)
        self.iou_types = tuple(self._asked or FILE_NAMES)
        self._evaluated: dict[str, CocoScores] = {}

    def update(self, im_id: int, detections: Detections) -> None:
        if not self._asked and not self.detections:
            self.iou_types = ("bbox",) if detections.masks is None else tuple(FILE_NAMES)
        if "segm" in self.iou_types and detections.masks is None and im_id in self.records:
            raise UserError(f"{self.records[im_id].name}: predictions have no masks; evaluate boxes only")
        super().update(im_id, detections)
        self._evaluated.clear()

    def compute(self) -> dict[str, list[float]]:
        """The 12 numbers of each kind, and their table as text in `summary`. Missing images are logged."""
        self.warn_of_missing()
        self._warn_of_limit(list(self.records.values()))
        if not self._asked and self.iou_types == ("bbox",):
            logger.info("The model gives boxes without masks: box AP only, no mask AP")
        with no_search_for_cycles():
            truth = ground_truth(list(self.records.values()), self.category_ids, "segm" in self.iou_types)
            for iou_type in self.iou_types:
                results = that_count(predicted(self.category_ids, self.detections, iou_type))
                self._evaluated[iou_type] = self._evaluator(truth, results, iou_type)
        kinds = {"bbox": "box", "segm": "mask"}
        texts = [f"{kinds[iou_type]}\n{self._evaluated[iou_type].table}" for iou_type in self.iou_types]
        self.summary = "\n".join([*texts, f"COCO's numbers were computed by {self.engine}"])
        return {iou_type: self._evaluated[iou_type].stats.tolist() for iou_type in self.iou_types}

    def _warn_of_limit(self, records: Sequence[Record]) -> None:
        """Say that COCO's AP does not count all detections where there are more objects than that."""
        most = {one.name: int(np.bincount(one.labels[~one.crowd], minlength=1).max()) for one in records}
        over = sorted((name for name, count in most.items() if count > COUNTED), key=lambda name: -most[name])
        if over:
            logger.warning(
                "%s with more than %d objects of a class (%s with %d): COCO's AP counts the best %d detections of one in an "
                "image, so that even perfect ones cannot score 1",
                counted(len(over), "images"),
                COUNTED,
                over[0],
                most[over[0]],
                COUNTED,
            )

    def named(self, numbers: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        return {iou_type: dict(zip(NUMBER_NAMES, numbers[iou_type])) for iou_type in FILE_NAMES if iou_type in numbers}

    def scores(self, iou_type: str | None = None) -> CocoScores:
        """Precision, recall and scores at each threshold; of masks unless told or not evaluated."""
        if not self._evaluated:
            self.compute()
        return self._evaluated[iou_type or self.iou_types[-1]]

    def classwise(self, iou_type: str | None = None) -> list[ClassRow]:
        """AP, AP50 and the number of (non-crowd) instances of each class; of masks unless told or not evaluated."""
        instances = np.zeros(len(self.class_names), np.int64)
        for record in self.records.values():
            np.add.at(instances, record.labels[~record.crowd], 1)
        # precision is (IoU thresholds, recalls, classes sorted by id, size ranges, detection limits)
        precision = self.scores(iou_type).precision[:, :, :, 0, -1]
        columns = [sorted(self.category_ids).index(category_id) for category_id in self.category_ids]
        return [
            ClassRow(name, _mean(precision[:, :, k]), _mean(precision[0, :, k]), int(count))
            for name, k, count in zip(self.class_names, columns, instances)
        ]

    def save_json(self, folder: str | Path) -> list[Path]:
        """Write the predictions so far as COCO results, `bbox.json` and `mask.json` as ppdet names them."""
        results = dict(zip(FILE_NAMES, coco_results(self.detections.items(), self.category_ids)))
        paths = []
        for iou_type in self.iou_types:
            paths.append(Path(folder) / FILE_NAMES[iou_type])
            write_atomically(paths[-1], json.dumps(results[iou_type]).encode())
        return paths


METRICS["COCO"] = CocoMetric  # the name that ppdet's configurations use


def format_classwise(rows: Sequence[ClassRow]) -> str:
    """The per-class table as aligned text."""
    wide = max([len(row.name) for row in rows] + [len("class")])
    lines = [f"{'class':{wide}s}  {'AP':>6s}  {'AP50':>6s}  {'instances':>9s}"]
    lines += [f"{row.name:{wide}s}  {row.ap:6.3f}  {row.ap50:6.3f}  {row.instances:9d}" for row in rows]
    return "\n".join(lines)


def _mean(precision: np.ndarray) -> float:
    valid = precision[precision > -1]
    return float(valid.mean()) if valid.size else -1.0
