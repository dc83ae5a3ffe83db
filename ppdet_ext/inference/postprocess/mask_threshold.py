"""From mask probabilities to masks."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.inference.candidates import Candidates
from ppdet_ext.structures import Detections

from .base import PerClass, Step, per_class, register_step


@register_step
class MaskThreshold(Step):
    """Pixels whose probability is at least `threshold` make the mask; 0.5 for a class that a mapping does not name."""

    needs_candidates = True

    def __init__(self, threshold: PerClass = 0.5) -> None:
        self.threshold = threshold

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        smallest = float(np.finfo(np.float32).tiny)  # at 0, all of a box would be mask
        self._threshold = per_class(
            self.threshold, class_names, category_ids, "MaskThreshold.threshold", 0.5, low=smallest, high=1
        )

    def __call__(self, found: Candidates, name: str) -> Detections:
        return found.detections(self._threshold[found.labels])
