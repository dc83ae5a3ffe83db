"""A choice between transforms."""

from collections.abc import Mapping, Sequence

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.registry import build_entries, number_in, register_transform

from .sample import Sample


@register_transform
class OneOf:
    """Do one of several transforms, or none of them.

        - OneOf:
            probability: 0.5
            transforms:
              - CLAHE: {probability: 1}
              - GaussianBlur: {probability: 1}

    Args:
        transforms: entries as in `sample_transforms`; their own probabilities count, too.
        weights: how likely each is, beside the others; equally by default.
        probability: of doing one at all.

    Raises: UserError naming what is unknown or out of range.
    """

    ENTRIES = {"transforms": "transform"}

    def __init__(self, transforms: list[dict], weights: list[float] | None = None, probability: float = 1.0):
        self.transforms = build_entries(transforms, "transform", "OneOf.transforms")
        if not self.transforms:
            raise UserError("OneOf.transforms is empty; give it two transforms or more.")
        self.probability = number_in(probability, "OneOf.probability", 0, 1)
        self._bounds = _cumulative(weights, transforms)

    def bind(self, class_count: int, class_names: Sequence[str] = ()) -> None:
        """Tell those of the transforms that ask for it what classes there are."""
        for transform in self.transforms:
            if hasattr(transform, "bind"):
                transform.bind(class_count, class_names)

    def __call__(self, sample: Sample, rng: np.random.Generator) -> Sample:
        (chance, place), seed = rng.random(2), rng.integers(2**63)
        if chance >= self.probability:
            return sample
        chosen = self.transforms[int(np.searchsorted(self._bounds, place, side="right"))]
        # Transforms draw different numbers of numbers; which one it is must not change what comes after it.
        return chosen(sample, np.random.default_rng(seed))


def _cumulative(weights: Sequence[float] | None, transforms: Sequence[Mapping]) -> np.ndarray:
    """(n - 1,) where in 0 … 1 the next transform begins. Raises: UserError unless there is a weight for each."""
    if weights is None:
        weights = [1.0] * len(transforms)
    if len(weights) != len(transforms):
        raise UserError(f"OneOf.weights: {len(weights)} for {len(transforms)} transforms; give one for each.")
    values = np.array([number_in(weight, "OneOf.weights", 0) for weight in weights], np.float64)
    if not values.sum():
        raise UserError("OneOf.weights are all 0; one at least is above.")
    return (np.cumsum(values) / values.sum())[:-1]
