"""What a search for thresholds may do, and its defaults; light, for the flags of tools/tune.py take them from here."""

import math
from dataclasses import dataclass

from ppdet_ext.errors import UserError

CRITERIA = ("f1", "accuracy")  # of a classifier's classes, see tuning/presence.py


@dataclass(frozen=True)
class SearchBounds:
    """What the search may do.

    score: lowest of the stored candidates; lower thresholds change nothing.
    nms_iou: that the candidates were predicted with; higher ones change nothing.
    min_instances: annotated objects that a class needs to get thresholds of its own.
    min_gain: of the metric, that a class's own threshold must bring.
    """

    score: float = 0.0
    nms_iou: float = 1.0
    min_instances: int = 10
    min_gain: float = 1e-4

    def allows(self, field: str, value: float) -> bool:
        ranges = {"score": (self.score, 1), "nms_iou": (0.05, self.nms_iou), "mask_threshold": (0.2, 0.8), "area": (0, 1e9)}
        low, high = (ranges | {"c_factor": (1, 1e3), "core": (0.3, 0.99)})[field]
        return low <= value <= high


@dataclass(frozen=True)
class Searching:
    """Options of the search: see `SearchBounds` and `tune_candidates`."""

    folds: int = 5
    min_instances: int = SearchBounds.min_instances
    min_gain: float = SearchBounds.min_gain
    keep_per_class: bool = False

    def check(self) -> None:
        """UserError for values that are impossible."""
        if self.folds < 0 or self.folds == 1:
            raise UserError(f"--folds is {self.folds}; at least 2 are needed for the cross-fold check, and 0 goes without it.")
        if self.min_instances < 0:
            raise UserError(f"--min_instances is {self.min_instances}; it cannot be negative.")
        if not 0 <= self.min_gain < math.inf:
            raise UserError(
                f"--min_gain is {self.min_gain:g}; expected a number of 0 or more, such as {SearchBounds.min_gain}."
            )


@dataclass(frozen=True)
class Predicting:
    """Thresholds that candidates are predicted with; what they leave out, no search finds. None: as configured."""

    score_threshold: float = 0.01
    nms_iou: float = 0.65
    max_detections: int | None = None

    def check(self) -> None:
        """UserError for values that are no thresholds."""
        if not 0 <= self.score_threshold < 1:
            raise UserError(f"--score_threshold is {self.score_threshold:g}; it lies between 0 and 1.")
        if not 0 < self.nms_iou <= 1:
            raise UserError(f"--nms_iou is {self.nms_iou:g}; it lies above 0, at most at 1.")
        if self.max_detections is not None and self.max_detections < 1:
            raise UserError(f"--max_detections is {self.max_detections}; at least 1 is needed.")
