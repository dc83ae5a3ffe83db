"""Losses of regions: one minus the overlap of prediction and target over the whole batch, per class or all at once."""

from collections.abc import Sequence
from typing import ClassVar

import paddle
import paddle.nn.functional as F

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import number_in, register_segmentation_loss

from .base import MULTILABEL, SegmentationLoss, counted_pixels, map_sums


def region_sums(
    logits: paddle.Tensor, targets: paddle.Tensor, per_class: bool
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """Shared, predicted and annotated pixels: Σ min(p, t), Σ p and Σ t over the batch, of each class (C,) or of all (1,).

    p is the sigmoid of multilabel, the softmax of multiclass logits. Ignored pixels are in none of the sums.
    """
    counted = counted_pixels(targets)
    if targets.ndim == logits.ndim:
        probabilities = F.sigmoid(logits)
        targets = targets.astype(logits.dtype)
    else:
        probabilities = F.softmax(logits, axis=1)
        numbers = paddle.arange(logits.shape[1], dtype=targets.dtype).reshape([1, -1, 1, 1])
        targets = (targets.unsqueeze(1) == numbers).astype(logits.dtype)
        counted = counted.unsqueeze(1)
    counts = counted.astype(logits.dtype)
    probabilities, targets = probabilities * counts, targets * counts
    # The minimum is p·t where targets are 0 or 1; of soft ones it is what segmentation_models_pytorch takes since 0.4.
    maps = (paddle.minimum(probabilities, targets), probabilities, targets)
    shared, predicted, annotated = (map_sums(one, per_class) for one in maps)
    return shared, predicted, annotated


class RegionLoss(SegmentationLoss):
    """1 − (I + smooth) / (I + alpha·FP + beta·FN + smooth) per class, averaged over classes.

    I = Σ min(p, t), FP = Σp − I, FN = Σt − I, summed over the whole batch (`region_sums`). **A class without an annotated pixel
    in the batch is 0 and stays in the mean**: where all masks are empty the loss is 0, and nothing is learned of them. `smooth`
    has the meaning of segmentation_models_pytorch 0.4 and later; for Dice it was twice as much before:
    (2·I + smooth) / (Σp + Σt + smooth).

    Args:
        alpha: weight of false positives.
        beta: weight of false negatives.
        weight: factor of the loss.
        smooth: added to numerator and denominator, px.
        eps: smallest denominator, and smallest overlap whose logarithm is taken.
        log_loss: −log(overlap) in place of 1 − overlap.
        classes: numbers of the classes that count (multiclass: 0 is the background); None for all.
        class_weights: weight of each of all classes in the mean; None for 1.
        per_class: False takes all classes of a multilabel target as one (SMP's mode "binary").
        gamma: power of the mean.

    Raises:
        UserError: an argument is out of its range, or, in a step, more classes are named than there are.
    """

    def __init__(
        self,
        alpha: float,
        beta: float,
        *,
        weight: float = 1.0,
        smooth: float = 0.0,
        eps: float = 1e-7,
        log_loss: bool = False,
        classes: Sequence[int] | None = None,
        class_weights: Sequence[float] | None = None,
        per_class: bool = True,
        gamma: float = 1.0,
    ) -> None:
        super().__init__(weight)
        name = type(self).__name__
        self.alpha, self.beta = number_in(alpha, f"{name}.alpha", 0), number_in(beta, f"{name}.beta", 0)
        self.smooth, self.eps = number_in(smooth, f"{name}.smooth", 0), number_in(eps, f"{name}.eps", 0)
        self.gamma = number_in(gamma, f"{name}.gamma", 0)
        self.log_loss, self.per_class = log_loss, per_class
        self.classes = None if classes is None else list(classes)
        self.class_weights = None if class_weights is None else list(class_weights)

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        shared, predicted, annotated = region_sums(logits, targets, self.per_class)
        wrong = self.alpha * (predicted - shared) + self.beta * (annotated - shared)
        overlap = (shared + self.smooth) / (shared + wrong + self.smooth).clip(min=self.eps)
        loss = -overlap.clip(min=self.eps).log() if self.log_loss else 1 - overlap
        mean = self._mean(loss * (annotated > 0).astype(loss.dtype))
        return mean if self.gamma == 1 else mean**self.gamma

    def _mean(self, loss: paddle.Tensor) -> paddle.Tensor:
        self._demand_classes(loss.shape[0])
        weights = None if self.class_weights is None else paddle.to_tensor(self.class_weights, loss.dtype)
        if self.classes is not None:
            chosen = paddle.to_tensor(self.classes, "int64")
            loss = loss.index_select(chosen)
            weights = None if weights is None else weights.index_select(chosen)
        return loss.mean() if weights is None else (loss * weights).sum() / weights.sum()

    def _demand_classes(self, count: int) -> None:
        name = type(self).__name__
        if self.class_weights is not None and len(self.class_weights) != count:
            raise UserError(
                f"{name}.class_weights has {len(self.class_weights)} numbers, and there are {count} maps of classes."
            )
        if self.classes is not None and not all(0 <= one < count for one in self.classes):
            raise UserError(f"{name}.classes is {self.classes}, and the classes are 0 to {count - 1}.")


class _EvenLoss(RegionLoss):
    """A region loss to which false positives and false negatives are alike; see `RegionLoss` for the arguments.

    Attributes:
        ERRORS: alpha and beta.
    """

    ERRORS: ClassVar[tuple[float, float]]

    def __init__(
        self,
        weight: float = 1.0,
        smooth: float = 0.0,
        eps: float = 1e-7,
        log_loss: bool = False,
        classes: list[int] | None = None,
        class_weights: list[float] | None = None,
        per_class: bool = True,
    ) -> None:
        super().__init__(
            *self.ERRORS,
            weight=weight,
            smooth=smooth,
            eps=eps,
            log_loss=log_loss,
            classes=classes,
            class_weights=class_weights,
            per_class=per_class,
        )


@register_segmentation_loss
class Dice(_EvenLoss):
    """1 − 2·I / (Σp + Σt) per class over the whole batch (V-Net, arXiv 1606.04797); see `RegionLoss` for the arguments."""

    ERRORS = (0.5, 0.5)


@register_segmentation_loss
class Jaccard(_EvenLoss):
    """1 − I / (Σp + Σt − I) per class over the whole batch, a soft IoU; see `RegionLoss` for the arguments."""

    ERRORS = (1.0, 1.0)


@register_segmentation_loss
class Tversky(RegionLoss):
    """1 − I / (I + alpha·FP + beta·FN) per class (arXiv 1706.05721), to the power gamma (focal Tversky, arXiv 1810.07842).

    beta above alpha: what is missed costs more than what is too much. See `RegionLoss` for the arguments.
    """

    def __init__(
        self,
        weight: float = 1.0,
        alpha: float = 0.5,
        beta: float = 0.5,
        gamma: float = 1.0,
        smooth: float = 0.0,
        eps: float = 1e-7,
        log_loss: bool = False,
        classes: list[int] | None = None,
        class_weights: list[float] | None = None,
        per_class: bool = True,
    ) -> None:
        super().__init__(
            *(alpha, beta),
            weight=weight,
            smooth=smooth,
            eps=eps,
            log_loss=log_loss,
            classes=classes,
            class_weights=class_weights,
            per_class=per_class,
            gamma=gamma,
        )


class BatchRegionLoss(SegmentationLoss):
    """One minus one overlap of the whole batch, all classes together, as segmentation_models_pytorch's `utils.losses` have it.

    It teaches on empty masks too: there it is 1 − eps / (Σp + eps).

    Args:
        weight: factor of the loss.
        eps: added to numerator and denominator, px (1e-7 in segmentation_models_pytorch 0.0.x).
    """

    tasks = (MULTILABEL,)

    def __init__(self, weight: float = 1.0, eps: float = 1.0) -> None:
        super().__init__(weight)
        self.eps = number_in(eps, f"{type(self).__name__}.eps", 0)


@register_segmentation_loss
class BatchDice(BatchRegionLoss):
    """1 − (2·I + eps) / (Σp + Σt + eps) over batch and classes: the Dice of most recipes of 2019."""

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        shared, predicted, annotated = region_sums(logits, targets, per_class=False)
        return (1 - (2 * shared + self.eps) / (predicted + annotated + self.eps)).sum()


@register_segmentation_loss
class BatchJaccard(BatchRegionLoss):
    """1 − (I + eps) / (Σp + Σt − I + eps) over batch and classes."""

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        shared, predicted, annotated = region_sums(logits, targets, per_class=False)
        return (1 - (shared + self.eps) / (predicted + annotated - shared + self.eps)).sum()


@register_segmentation_loss
class MCC(SegmentationLoss):
    """1 − Matthews' correlation coefficient of probabilities and targets, over batch and classes (arXiv 2010.13454).

    Args:
        weight: factor of the loss.
        eps: added to each of the four counts, px.
    """

    tasks = (MULTILABEL,)

    def __init__(self, weight: float = 1.0, eps: float = 1e-5) -> None:
        super().__init__(weight)
        self.eps = number_in(eps, "MCC.eps", 0)

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        shared, predicted, annotated = region_sums(logits, targets, per_class=False)
        pixels = counted_pixels(targets).astype(logits.dtype).sum()
        tp, fp, fn = shared + self.eps, predicted - shared + self.eps, annotated - shared + self.eps
        tn = pixels - predicted - annotated + shared + self.eps
        # Four roots in place of one: the product of four counts of a large batch is near float32's largest number.
        scale = (tp + fp).sqrt() * (tp + fn).sqrt() * (tn + fp).sqrt() * (tn + fn).sqrt()
        return (1 - (tp / scale * tn - fp / scale * fn)).sum()
