"""Leaving classes out."""

from collections.abc import Sequence

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_step
from ppdet_ext.structures import Detections
from ppdet_ext.structures.candidates import Candidates

from .base import Step
from .class_keys import label_of


@register_step
class DropClasses(Step):
    """Drops everything of the classes of these names or category ids."""

    def __init__(self, classes: list) -> None:
        """UserError unless it is a list."""
        if not isinstance(classes, list | tuple):
            raise UserError(f"DropClasses.classes: {classes!r} is no list of class names or ids.")
        self.classes = classes

    def bind(self, class_names: Sequence[str], category_ids: Sequence[int]) -> None:
        self._labels = [label_of(name, class_names, category_ids, "DropClasses.classes") for name in self.classes]

    def __call__(self, found: Candidates | Detections, name: str) -> Candidates | Detections:
        return found.select(~np.isin(found.labels, self._labels))
