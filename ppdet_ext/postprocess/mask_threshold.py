"""From mask probabilities to masks."""

from collections.abc import Sequence

from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections
from ppdet_ext.structures.candidates import Candidates

from .base import PerClass, Step, per_class


@register_step
class MaskThreshold(Step):
    """Pixels whose probability is at least `threshold` make the mask; 0.5 for a class that a mapping does not name."""

    needs_candidates = True

    def __init__(self, threshold: PerClass = 0.5) -> None:
        self.threshold = threshold

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        # At 0, all pixels around the box would be mask.
        self._threshold = per_class(
            self.threshold, class_names, category_ids, "MaskThreshold.threshold", 0.5, low=0.001, high=1
        )

    def __call__(self, found: Candidates, name: str) -> Detections:
        return found.detections(self._threshold[found.labels])
