"""What every metric offers, and the kind that is put together from one image's one class at a time."""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ppdet_ext.data.datasets.base import InstanceDataSet
from ppdet_ext.errors import UserError, nearest
from ppdet_ext.host.registry import METRICS
from ppdet_ext.structures import Detections, Record, Rle

logger = logging.getLogger("ppdet_ext")

NOWHERE = -1.0  # the number of a class that is neither annotated nor predicted, as in pycocotools


class Metric:
    """Collects the detections of a data set's images, then computes numbers.

        metric = SeverstalDice()
        metric.start(dataset.records, dataset.class_names, dataset.category_ids)    # or metric.start_on(dataset)
        for im_id, detections in predictions:
            metric.update(im_id, detections)
        numbers = metric.compute()      # {"SeverstalDice": [the number that counts, …]}
        print(metric.summary)

    Subclasses take their options in the constructor and implement `compute`, which also sets `summary`.
    Images without an update count as images in which nothing was found.
    """

    summary = ""

    def start_on(self, dataset: InstanceDataSet) -> None:
        """`start` with all images of a data set. Raises: UserError when it has no annotations, or not the ones needed."""
        if not dataset.annotated:
            raise UserError(f"{type(self).__name__} compares with annotations, and this data set has none: set its anno_path.")
        self.start(dataset.records, dataset.class_names, dataset.category_ids)

    def start(self, records: Sequence[Record], class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        """Begin with nothing found. Raises: UserError when the records do not hold what the metric needs."""
        self.records = {record.im_id: record for record in records}
        if len(self.records) != len(records):
            raise UserError(f"{len(records) - len(self.records)} image ids occur twice in the data set")
        if len(set(category_ids)) != len(class_names) or len(category_ids) != len(class_names):
            raise UserError(f"{len(class_names)} class names need as many different category ids, not {category_ids}")
        self.class_names, self.category_ids = list(class_names), list(map(int, category_ids))
        self.detections: dict[int, Detections] = {}
        self.summary = ""

    def update(self, im_id: int, detections: Detections) -> None:
        """Take the detections of one image; UserError where they do not fit the data set."""
        record = self.records.get(im_id)
        if record is None:
            raise UserError(f"predictions for image id {im_id}, which is not in the data set")
        if im_id in self.detections:
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
        if bad := next((what for what in ("scores", "boxes") if not np.isfinite(getattr(detections, what)).all()), None):
            row = int(np.flatnonzero(~np.isfinite(getattr(detections, bad)).reshape(len(detections), -1).all(axis=1))[0])
            raise UserError(f"{record.name}: {bad} of prediction {row + 1} are not finite: {getattr(detections, bad)[row]}")
        self.detections[im_id] = detections

    @property
    def missing(self) -> list[int]:
        """Ids of the images that were never updated, in the data set's order."""
        return [im_id for im_id in self.records if im_id not in self.detections]

    def compute(self) -> dict[str, list[float]]:
        """Named lists of numbers; of the first list, the first number is the one that counts (higher is better)."""
        raise NotImplementedError

    def named(self, numbers: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        """The numbers of `compute`, each by name: what it is of, for example a class."""
        return {key: {str(place): value for place, value in enumerate(values)} for key, values in numbers.items()}

    def value_of_nothing(self) -> float:
        """The number that counts if nothing were found in any image. More than 0 where empty images are rewarded."""
        return 0.0

    def warn_of_missing(self) -> None:
        """Log how many images have no predictions, and the first ten names."""
        if self.missing:
            names = ", ".join(self.records[im_id].name for im_id in self.missing[:10])
            logger.warning(
                "%d of %d images have no predictions and count as empty: %s", len(self.missing), len(self.records), names
            )


class PartialMetric(Metric):
    """A metric that is put together from partial results, one for each image and class.

    Subclasses implement `prepare`, `partial` and `combine`. Searching thresholds calls `prepare` once per image, class and mask
    threshold, `partial` once per selection of the masks, `combine` once per setting (for any of the images):

        prepared = metric.prepare(record.of_class(label), masks)
        partial = metric.partial(prepared, scores, np.flatnonzero(scores >= 0.5))
        numbers = metric.combine([[partial, …of each class] …of each image])
    """

    def start(self, records: Sequence[Record], class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        super().start(records, class_names, category_ids)
        if not records:
            raise UserError(f"{type(self).__name__}: the data set has no images.")
        for record in records:
            if len(record.masks) != len(record.labels):
                raise UserError(
                    f"{record.name}: {len(record.masks)} masks for {len(record.labels)} objects, and {type(self).__name__} "
                    "compares masks; use a data set with masks, or metric: COCO for boxes."
                )

    def prepare(self, truth: Record, masks: list[Rle]) -> Any:
        """Whatever makes `partial` cheap. Args: `masks`: of the image's size, of the same class, by falling score."""
        raise NotImplementedError

    def partial(self, prepared: Any, scores: np.ndarray, chosen: np.ndarray) -> Any:
        """What one image and class contribute if only some of the masks are submitted.

        Args:
            prepared: from `prepare`.
            scores: (n,) of all masks that were given to `prepare`.
            chosen: ascending positions of those that count.
        """
        raise NotImplementedError

    def combine(self, partials: list[list[Any]]) -> dict[str, list[float]]:
        """Compute the numbers (see `compute`) from partial results: of some images, and of all classes in each.

        Needs `start` for nothing but the names of classes in the messages of `table`.
        """
        raise NotImplementedError

    def compute(self) -> dict[str, list[float]]:
        self.warn_of_missing()
        partials = []
        for im_id, record in self.records.items():
            detections = self.detections.get(im_id, Detections.empty(record.height, record.width))
            if detections.masks is None:
                raise UserError(f"{record.name}: predictions have no masks, which {type(self).__name__} compares.")
            partials.append([self._partial_of(record, detections, label) for label in range(len(self.class_names))])
        numbers = self.combine(partials)
        self.summary = self.table(numbers)
        return numbers

    def value_of_nothing(self) -> float:
        no_scores, none = np.zeros(0, np.float32), np.zeros(0, np.int64)
        partials = [
            [self.partial(self.prepare(record.of_class(label), []), no_scores, none) for label in range(len(self.class_names))]
            for record in self.records.values()
        ]
        return value_of(self.combine(partials))

    def named(self, numbers: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        """{name: {"all": …, class: …}}; classes of one name have their ids with it."""
        return named_by_class(numbers, self.class_names, self.category_ids)

    def table(self, numbers: dict[str, list[float]]) -> str:
        """Numbers of `combine` as text: the metric, then its value for each class."""
        name, (total, *classes) = next(iter(numbers.items()))
        wide = max(map(len, [*self.class_names, name]))
        counts = np.bincount(
            np.concatenate([record.labels for record in self.records.values()]), minlength=len(self.class_names)
        )
        lines = [f"{name:{wide}s}  {total:7.4f}", f"{'class':{wide}s}  {'value':>7s}  {'instances':>9s}"]
        for class_name, value, count in zip(self.class_names, classes, counts):
            shown = f"{'-':>7s}" if value == NOWHERE else f"{value:7.4f}"
            lines.append(f"{class_name:{wide}s}  {shown}  {count:9d}")
        return "\n".join(lines)

    def _partial_of(self, record: Record, detections: Detections, label: int) -> Any:
        order = np.argsort(-detections.scores, kind="stable")
        own, masks = order[detections.labels[order] == label], detections.masks or []
        prepared = self.prepare(record.of_class(label), [masks[i] for i in own])
        return self.partial(prepared, detections.scores[own], np.arange(len(own)))


def named_by_class(
    numbers: Mapping[str, Sequence[float]], class_names: Sequence[str], category_ids: Sequence[int]
) -> dict[str, dict[str, float]]:
    """Lists of a total and a number of each class, by name; classes of one name have their ids with it."""
    counts = Counter(class_names)
    classes = [name if counts[name] == 1 else f"{name} ({own_id})" for name, own_id in zip(class_names, category_ids)]
    return {key: dict(zip(["all", *classes], values)) for key, values in numbers.items()}


def value_of(numbers: Mapping[str, Sequence[float]]) -> float:
    """The number that counts, of those a metric has computed."""
    return float(next(iter(numbers.values()))[0])


def gain_over_nothing(name: str, value: float, nothing: float, own: str = "this one") -> str:
    """A line that says what an empty submission scores beside `own`; '' where it scores nothing."""
    if nothing <= 0:
        return ""
    gain = value - nothing
    advice = "" if gain > 0 else f": submitting nothing would be {'better' if gain < 0 else 'as good'}"
    return f"An empty submission scores {nothing:.4f} by {name}; {own} {value:.4f}, which is {gain:+.4f}{advice}"


def build_metric(name: str, options: Mapping[str, Any] | None = None) -> Metric:
    """The metric of that name, not started. UserError naming the nearest one that exists, or the option at fault."""
    if name not in METRICS:
        raise UserError(f"metric: there is no {name!r}.{nearest(name, METRICS)} There are {', '.join(METRICS)}.")
    try:
        return METRICS[name](**(options or {}))
    except TypeError as fault:
        raise UserError(f"{name}: {str(fault).split('__init__() ')[-1]}.") from None


def tuning_metric(name: str, options: Mapping[str, Any] | None = None) -> PartialMetric:
    """A metric made of partial results for searching thresholds; for COCO its mask AP, `CocoMaskAP`, which has no options.

    Raises: UserError for a metric of something else than masks.
    """
    metric = build_metric(name, options) if name != "COCO" else build_metric("CocoMaskAP")
    if not isinstance(metric, PartialMetric):
        known = [one for one, kind in METRICS.items() if issubclass(kind, PartialMetric)]
        raise UserError(
            f"{name} does not compare masks, so no thresholds of masks can be searched by it; there are {', '.join(known)}."
        )
    return metric
