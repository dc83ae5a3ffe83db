"""Severstal's metric: mean Dice over images and classes."""

import numpy as np

from ppdet_ext.host.registry import register_metric

from .pixel_counts import PixelCountMetric


@register_metric
class SeverstalDice(PixelCountMetric):
    """Mean over all (image, class) pairs of 2·|X ∩ Y| / (|X| + |Y|), 1 where both are empty.

    X and Y are the unions of the predicted and of the annotated instances, as on the Evaluation page of
    kaggle.com/c/severstal-steel-defect-detection.
    """

    def combine(self, cells: list[list[tuple[int, int, int]]]) -> dict[str, list[float]]:
        """{"SeverstalDice": [mean, mean of each class, …]}."""
        shared, annotated, predicted = np.moveaxis(np.array(cells, np.float64), -1, 0)
        total = annotated + predicted
        dice = np.where(total > 0, 2 * shared / np.maximum(total, 1), 1.0)
        return {"SeverstalDice": [float(dice.mean()), *dice.mean(axis=0).tolist()]}
