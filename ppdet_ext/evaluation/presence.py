"""Metrics of whole images: whether the classes that are found in an image are those that are in it."""

from collections.abc import Mapping, Sequence

import numpy as np

from ppdet_ext.host.registry import number_in, register_metric

from .metric import NOWHERE, Metric, named_by_class


@register_metric
class PresenceF1(Metric):
    """F1 of each class over all images, and their mean over the classes that are in some image; for classifiers, or any model.

    A class is found in an image where an object of it scores at least `threshold`; it is there where one is annotated (crowds
    count). Precision, recall, accuracy, and the area under the ROC curve of the classes' highest scores go with it.

    threshold: 0 where a step, such as ClassifierGate, has decided already.

    Raises: UserError for a threshold that is none.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self.threshold = number_in(threshold, "PresenceF1.threshold", 0, 1)

    def compute(self) -> dict[str, list[float]]:
        """{"PresenceF1": [mean, of each class, …], "precision", "recall", "accuracy", "AUC": likewise}.

        -1 where there is nothing to divide by: classes in no image, and of precision those that are never found.
        """
        self.warn_of_missing()
        truth, scores = self._table()
        # A class that no object is of was not found, whatever the threshold.
        found = (scores > 0) & (scores.astype(np.float64) >= self.threshold)
        hits, all_found, positives = (found & truth).sum(0), found.sum(0), truth.sum(0)
        there = positives > 0
        by_class = {
            "PresenceF1": np.where(there, 2 * hits / np.maximum(all_found + positives, 1), NOWHERE),
            "precision": np.where(all_found > 0, hits / np.maximum(all_found, 1), NOWHERE),
            "recall": np.where(there, hits / np.maximum(positives, 1), NOWHERE),
            "accuracy": (found == truth).mean(axis=0),
            "AUC": np.array([area_under_roc(own, its) for own, its in zip(scores.T, truth.T)]),
        }
        numbers = {name: [_mean(values), *values.tolist()] for name, values in by_class.items()}
        self.summary = self._summary(numbers, positives)
        return numbers

    def named(self, numbers: Mapping[str, Sequence[float]]) -> dict[str, dict[str, float]]:
        """{name: {"all": …, class: …}}."""
        return named_by_class(numbers, self.class_names, self.category_ids)

    def _table(self) -> tuple[np.ndarray, np.ndarray]:
        """(images, classes): bool of what is annotated, and float32 highest scores, 0 where nothing is found."""
        shape = len(self.records), len(self.class_names)
        truth, scores = np.zeros(shape, bool), np.zeros(shape, np.float32)
        for row, own, (im_id, record) in zip(truth, scores, self.records.items()):
            row[record.labels] = True
            if im_id in self.detections:
                np.maximum.at(own, self.detections[im_id].labels, self.detections[im_id].scores.astype(np.float32))
        return truth, scores

    def _summary(self, numbers: Mapping[str, Sequence[float]], positives: np.ndarray) -> str:
        wide = max(len("class"), len("mean"), *map(len, self.class_names))
        lines = [f"{'class':{wide}s}  {'images':>6s}  " + "  ".join(f"{name:>10s}" for name in numbers)]
        for place, name in enumerate(["mean", *self.class_names]):
            count = f"{positives[place - 1]:6d}" if place else " " * 6
            cells = (f"{values[place]:10.4f}" if values[place] != NOWHERE else f"{'-':>10s}" for values in numbers.values())
            lines.append(f"{name:{wide}s}  {count}  " + "  ".join(cells))
        return "\n".join(lines)


def _mean(values: np.ndarray) -> float:
    """Of those that are there; -1 where none is."""
    there = values != NOWHERE
    return float(values[there].mean()) if there.any() else NOWHERE


def area_under_roc(scores: np.ndarray, truth: np.ndarray) -> float:
    """The share of pairs of an image with the class and one without in which the former scores higher; ties count half.

    scores (images,), truth (images,) bool. -1 where there is no such pair.
    """
    positives = int(truth.sum())
    negatives = len(truth) - positives
    if not positives or not negatives:
        return NOWHERE
    _, ranks, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    # The mean rank, counted from 1, of each group of equal scores.
    middle = np.cumsum(sizes) - (sizes - 1) / 2
    return float((middle[ranks][truth].sum() - positives * (positives + 1) / 2) / (positives * negatives))
