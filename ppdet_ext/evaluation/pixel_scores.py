"""F1, IoU, precision, recall … of pixels, with segmentation_models_pytorch's ways of putting images and classes together."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import number_in, one_of, register_metric

from .metric import NOWHERE
from .pixel_metrics import PixelCountMetric, Unions

Counts = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
Reduction = Literal["micro", "macro", "weighted", "micro-imagewise", "macro-imagewise", "weighted-imagewise", "none"]
REDUCTIONS = ("micro", "macro", "weighted", "micro-imagewise", "macro-imagewise", "weighted-imagewise")


def fbeta(tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray, beta: float = 1.0) -> np.ndarray:
    """(1 + beta²)·TP / ((1 + beta²)·TP + beta²·FN + FP); NaN where there is nothing."""
    return (1 + beta**2) * tp / ((1 + beta**2) * tp + beta**2 * fn + fp)


# Of counts tp, fp, fn, tn as float64; 0 / 0 is NaN.
SCORES: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, np.ndarray], np.ndarray]] = {
    "iou_score": lambda tp, fp, fn, tn: tp / (tp + fp + fn),
    "f1_score": fbeta,
    "accuracy": lambda tp, fp, fn, tn: (tp + tn) / (tp + fp + fn + tn),
    "precision": lambda tp, fp, fn, tn: tp / (tp + fp),
    "recall": lambda tp, fp, fn, tn: tp / (tp + fn),
    "specificity": lambda tp, fp, fn, tn: tn / (tn + fp),
    "balanced_accuracy": lambda tp, fp, fn, tn: (tp / (tp + fn) + tn / (tn + fp)) / 2,
    "false_positive_rate": lambda tp, fp, fn, tn: 1 - tn / (tn + fp),
}


def pixel_score(
    score: str | Callable[..., np.ndarray],
    counts: Counts,
    reduction: Reduction = "micro",
    class_weights: Sequence[float] | None = None,
    zero_division: float = 1.0,
) -> np.ndarray:
    """A score of pixels over images and classes, as `segmentation_models_pytorch.metrics` computes it.

    Args:
        score: a key of `SCORES`, or a function of the four counts.
        counts: true positives, false positives, false negatives, true negatives, (images, classes) each.
        reduction: "micro": one score of all counts; "macro": the mean of the classes' scores; "weighted": the same, weighted;
            "…-imagewise": first per image, then the mean over images; "none": (images, classes).
        class_weights: of "weighted…", and of "macro", where SMP takes the mean of what is weighted already: 1 / classes too
            small. So does "weighted-imagewise".
        zero_division: in place of 0 / 0; "micro" leaves NaN.

    Returns:
        float64; a scalar, or of "none" (images, classes).
    """
    rule = SCORES[score] if isinstance(score, str) else score
    tables = [np.asarray(one, np.float64) for one in counts]
    weights = None if class_weights is None else np.asarray(class_weights, np.float64) / np.sum(class_weights)

    def filled(axis: int | None) -> np.ndarray:
        """The score of counts summed over an axis, 0 the images, 1 the classes."""
        values = _ratio(rule, tables if axis is None else [table.sum(axis) for table in tables])
        return np.where(np.isnan(values), zero_division, values)

    if reduction == "micro":
        return _ratio(rule, [table.sum() for table in tables])
    if reduction in ("macro", "weighted"):
        values = filled(0) if weights is None else filled(0) * weights
        return values.sum() if reduction == "weighted" and weights is not None else values.mean()
    if reduction == "micro-imagewise":
        return filled(1).mean()
    if reduction == "none":
        return filled(None)
    values = filled(None).mean(axis=0)
    return (values * weights).mean() if reduction == "weighted-imagewise" and weights is not None else values.mean()


def _ratio(rule: Callable[..., np.ndarray], counts: Sequence[np.ndarray]) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return rule(*(np.asarray(one, np.float64) for one in counts))


class PixelScore(PixelCountMetric):
    """Base of scores of pixels: a partial is (tp, fp, fn, tn) of one image and class. The background is no class.

    Args:
        reduction: how images and classes are put together, see `pixel_score`; one of `REDUCTIONS`.
        class_weights: of "weighted…", one for each class.
        zero_division: the score where there is nothing to divide by, such as of an image with nothing annotated or found.

    Raises:
        UserError: no such reduction, or weights that do not fit.
    """

    score = ""

    def __init__(self, reduction: str = "micro", class_weights: list[float] | None = None, zero_division: float = 1.0) -> None:
        name = type(self).__name__
        self.reduction: Reduction = one_of(reduction, REDUCTIONS, f"{name}.reduction")  # type: ignore[assignment]
        if reduction.startswith("weighted") != (class_weights is not None):
            raise UserError(f"{name}: class_weights go with a weighted reduction, and each of them needs some.")
        self.class_weights = class_weights
        self.zero_division = number_in(zero_division, f"{name}.zero_division", 0, 1)

    def partial(  # type: ignore[override]
        self, prepared: Unions, scores: np.ndarray, chosen: np.ndarray
    ) -> tuple[int, int, int, int]:
        shared, annotated, predicted = super().partial(prepared, scores, chosen)
        return shared, predicted - shared, annotated - shared, prepared.pixels - annotated - predicted + shared

    def combine(self, partials: list[list[tuple[int, int, int, int]]]) -> dict[str, list[float]]:
        """{name: [score, score of each class over the images, …]}; -1 where there is nothing to divide by ("micro")."""
        tp, fp, fn, tn = np.moveaxis(np.array(partials, np.float64), -1, 0)
        if self.class_weights is not None and len(self.class_weights) != tp.shape[1]:
            raise UserError(
                f"{type(self).__name__}.class_weights has {len(self.class_weights)} numbers for {tp.shape[1]} classes."
            )
        total = pixel_score(self.rule, (tp, fp, fn, tn), self.reduction, self.class_weights, self.zero_division)
        if self.reduction.endswith("imagewise"):
            classes = pixel_score(self.rule, (tp, fp, fn, tn), "none", None, self.zero_division).mean(axis=0)
        else:
            classes = _ratio(self.rule, [one.sum(axis=0) for one in (tp, fp, fn, tn)])
        values = [float(total), *classes.tolist()]
        return {type(self).__name__: [NOWHERE if np.isnan(value) else value for value in values]}

    def rule(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
        """The score of counts, NaN for 0 / 0."""
        return SCORES[self.score](tp, fp, fn, tn)


@register_metric
class PixelF1(PixelScore):
    """F1 of pixels, 2·TP / (2·TP + FP + FN), which is Dice; with another beta, F-beta. See `PixelScore` for the rest.

    beta: how much more recall counts than precision.
    """

    score = "f1_score"

    def __init__(
        self,
        reduction: str = "micro",
        class_weights: list[float] | None = None,
        zero_division: float = 1.0,
        beta: float = 1.0,
    ) -> None:
        super().__init__(reduction, class_weights, zero_division)
        self.beta = number_in(beta, "PixelF1.beta", 0)

    def rule(self, tp: np.ndarray, fp: np.ndarray, fn: np.ndarray, tn: np.ndarray) -> np.ndarray:
        return fbeta(tp, fp, fn, tn, self.beta)


@register_metric
class PixelIoU(PixelScore):
    """IoU of pixels, TP / (TP + FP + FN)."""

    score = "iou_score"


@register_metric
class PixelPrecision(PixelScore):
    """Precision of pixels, TP / (TP + FP): how much of what is found is right."""

    score = "precision"


@register_metric
class PixelRecall(PixelScore):
    """Recall of pixels, TP / (TP + FN): how much of what is there is found."""

    score = "recall"


@register_metric
class PixelAccuracy(PixelScore):
    """Share of pixels that are right, (TP + TN) / all; near 1 for rare classes whatever is found."""

    score = "accuracy"
