"""Dropping what the model is not sure of."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections
from ppdet_ext.structures.candidates import Candidates

from .base import PerClass, Step, per_class


@register_step
class ScoreThreshold(Step):
    """Keeps scores of at least `score`. A class that a mapping does not name keeps all."""

    def __init__(self, score: PerClass = 0.5) -> None:
        self.score = score

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._score = per_class(self.score, class_names, category_ids, "ScoreThreshold.score", 0.0, low=0, high=1)

    def __call__(self, found: Candidates | Detections, name: str) -> Candidates | Detections:
        return found.select(found.scores.astype(np.float64) >= self._score[found.labels])
