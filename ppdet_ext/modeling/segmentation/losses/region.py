"""Losses of regions: one minus the overlap of prediction and target, per class over the whole batch."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F

from ppdet_ext.host.registry import number_in, register_segmentation_loss

from .base import SegmentationLoss, counted_pixels


class RegionLoss(SegmentationLoss):
    """1 − (I + smooth) / (I + alpha·FP + beta·FN + smooth) per class, averaged over classes.

    I = Σ min(p, t), FP = Σp − I, FN = Σt − I, summed over the whole batch, with p the sigmoid of multilabel, the softmax of
    multiclass logits. **A class without an annotated pixel in the batch is 0 and stays in the mean**: where all masks are empty
    the loss is 0, and nothing is learned of them. `smooth` has the meaning of segmentation_models_pytorch 0.4 and later, half
    of what it was for Dice before (2·I + smooth) / (Σp + Σt + smooth).

    Args:
        alpha: weight of false positives.
        beta: weight of false negatives.
        weight: factor of the loss.
        smooth: added to numerator and denominator, px.
        eps: smallest denominator, and smallest overlap whose logarithm is taken.
        log_loss: −log(overlap) in place of 1 − overlap.
        classes: numbers of the classes that count; None for all.
        class_weights: weight of each of all classes in the mean; None for 1.
        per_class: False takes all classes of a multilabel target as one (SMP's mode "binary").
        gamma: power of the mean.
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
        shared, predicted, annotated = self._sums(logits, targets)
        wrong = self.alpha * (predicted - shared) + self.beta * (annotated - shared)
        overlap = (shared + self.smooth) / (shared + wrong + self.smooth).clip(min=self.eps)
        loss = -overlap.clip(min=self.eps).log() if self.log_loss else 1 - overlap
        loss = loss * (annotated > 0).astype(loss.dtype)
        mean = self._mean(loss)
        return mean if self.gamma == 1 else mean**self.gamma

    def _sums(self, logits: paddle.Tensor, targets: paddle.Tensor) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        """Shared, predicted and annotated pixels of each class, (C,)."""
        counted = counted_pixels(targets)
        if targets.ndim == logits.ndim:
            probabilities = F.sigmoid(logits)
            targets = targets.astype(logits.dtype)
        else:
            probabilities = F.softmax(logits, axis=1)
            numbers = paddle.arange(logits.shape[1], dtype=targets.dtype).reshape([1, -1, 1, 1])
            targets = (targets.unsqueeze(1) == numbers).astype(logits.dtype)
            counted = counted.unsqueeze(1)
        probabilities, targets = probabilities * counted.astype(logits.dtype), targets * counted.astype(logits.dtype)
        over = [0, 2, 3] if self.per_class else [0, 1, 2, 3]
        sums = (one.sum(over).reshape([-1]) for one in (paddle.minimum(probabilities, targets), probabilities, targets))
        shared, predicted, annotated = sums
        return shared, predicted, annotated

    def _mean(self, loss: paddle.Tensor) -> paddle.Tensor:
        weights = None if self.class_weights is None else paddle.to_tensor(self.class_weights, loss.dtype)
        if self.classes is not None:
            chosen = paddle.to_tensor(self.classes, "int64")
            loss = loss.index_select(chosen)
            weights = None if weights is None else weights.index_select(chosen)
        return loss.mean() if weights is None else (loss * weights).sum() / weights.sum()


@register_segmentation_loss
class Dice(RegionLoss):
    """1 − 2·I / (Σp + Σt) per class over the whole batch (V-Net, arXiv 1606.04797); see `RegionLoss` for the arguments."""

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
            *(0.5, 0.5),
            weight=weight,
            smooth=smooth,
            eps=eps,
            log_loss=log_loss,
            classes=classes,
            class_weights=class_weights,
            per_class=per_class,
        )
