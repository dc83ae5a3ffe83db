"""Losses of single pixels: binary and softmax cross-entropy, and focal loss."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import number_in, one_of, register_segmentation_loss
from ppdet_ext.modeling.ops.loss_functions import cross_entropy

from .base import IGNORED, MULTICLASS, MULTILABEL, SegmentationLoss, counted_pixels, map_sums, mean_of

_SMALLEST = 1e-30


@register_segmentation_loss
class BCE(SegmentationLoss):
    """Binary cross-entropy of each pixel and class, averaged over all of them.

    Ignored ones are 0 and stay in the denominator, as in segmentation_models_pytorch's SoftBCEWithLogitsLoss.

    Args:
        weight: factor of the loss.
        smoothing: label smoothing s: targets become s and 1 − s.
        pos_weight: factor of the pixels that are of the class, one for all classes or one for each; None for 1.

    Raises:
        UserError: an argument is out of its range, or, in a step, there are more or fewer `pos_weight` than classes.
    """

    tasks = (MULTILABEL,)

    def __init__(self, weight: float = 1.0, smoothing: float = 0.0, pos_weight: float | list[float] | None = None) -> None:
        super().__init__(weight)
        self.smoothing = number_in(smoothing, "BCE.smoothing", 0, 1)
        given: Sequence[float] = [] if pos_weight is None else pos_weight if isinstance(pos_weight, list) else [pos_weight]
        self.pos_weight = [number_in(one, "BCE.pos_weight", 0) for one in given]

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        counted = counted_pixels(targets).astype(logits.dtype)
        targets = targets.astype(logits.dtype) * counted
        if self.smoothing:
            targets = targets * (1 - 2 * self.smoothing) + self.smoothing
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=self._factors(logits))
        return mean_of(loss * counted)

    def _factors(self, logits: paddle.Tensor) -> paddle.Tensor | None:
        if not self.pos_weight:
            return None
        if len(self.pos_weight) not in (1, logits.shape[1]):
            raise UserError(f"BCE.pos_weight has {len(self.pos_weight)} numbers for {logits.shape[1]} classes.")
        return paddle.to_tensor(self.pos_weight, logits.dtype).reshape([-1, 1, 1]).expand(logits.shape[1:])


@register_segmentation_loss
class SoftCE(SegmentationLoss):
    """Softmax cross-entropy of each pixel, averaged over all of them; ignored ones are 0 and stay in the denominator.

    Args:
        weight: factor of the loss.
        smoothing: label smoothing s: s / (number of classes) of the target is spread over all classes.
    """

    tasks = (MULTICLASS,)

    def __init__(self, weight: float = 1.0, smoothing: float = 0.0) -> None:
        super().__init__(weight)
        self.smoothing = number_in(smoothing, "SoftCE.smoothing", 0, 1)

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        own = mean_of(cross_entropy(logits, targets, axis=1, ignore_index=IGNORED))
        if not self.smoothing:
            return own
        # Not log_softmax, which Paddle cuts off at −64 on CPUs.
        all_classes = paddle.logsumexp(logits, axis=1) - logits.mean(axis=1)
        spread = mean_of(all_classes * counted_pixels(targets).astype(logits.dtype))
        return (1 - self.smoothing) * own + self.smoothing * spread


@register_segmentation_loss
class Focal(SegmentationLoss):
    """(1 − p_t)^gamma · BCE of each pixel and class (arXiv 1708.02002), the mean over pixels, then over classes.

    Multiclass targets are taken as one binary map a class. Ignored pixels are in no denominator. Where nothing counts, the
    loss is 0; of segmentation_models_pytorch it is NaN there.

    Args:
        weight: factor of the loss.
        alpha: weight of pixels of the class, 1 − alpha of the others; None for 1 and 1.
        gamma: how much less a pixel counts that is right already.
        normalized: divide by the sum of the focal factors.
        reduced_threshold: pixels with p_t below it have the factor 1, others ((1 − p_t) / threshold)^gamma (arXiv 1903.01347).
        reduction: "mean" or "sum" over pixels.
        per_class: False takes the mean over all pixels of all classes at once (SMP's mode "binary").
    """

    def __init__(
        self,
        weight: float = 1.0,
        alpha: float | None = None,
        gamma: float = 2.0,
        normalized: bool = False,
        reduced_threshold: float | None = None,
        reduction: str = "mean",
        per_class: bool = True,
    ) -> None:
        super().__init__(weight)
        self.alpha = None if alpha is None else number_in(alpha, "Focal.alpha", 0, 1)
        self.gamma = number_in(gamma, "Focal.gamma", 0)
        self.threshold = None if reduced_threshold is None else number_in(reduced_threshold, "Focal.reduced_threshold", 0, 1)
        self.reduction = one_of(reduction, ("mean", "sum"), "Focal.reduction")
        self.normalized, self.per_class = normalized, per_class

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        counted = counted_pixels(targets)
        if targets.ndim < logits.ndim:
            numbers = paddle.arange(logits.shape[1], dtype=targets.dtype).reshape([1, -1, 1, 1])
            targets, counted = targets.unsqueeze(1) == numbers, counted.unsqueeze(1).expand(logits.shape)
        counts = counted.astype(logits.dtype)
        targets = targets.astype(logits.dtype) * counts
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
        factor = self._factor(loss) * counts
        loss = loss * factor
        if self.alpha is not None:
            loss = loss * (self.alpha * targets + (1 - self.alpha) * (1 - targets))
        total = map_sums(loss, self.per_class)
        if self.normalized:
            total = total / map_sums(factor, self.per_class).clip(min=1e-6)
        return (total if self.reduction == "sum" else total / map_sums(counts, self.per_class).clip(min=1)).mean()

    def _factor(self, loss: paddle.Tensor) -> paddle.Tensor:
        if self.gamma == 0:
            # 0^0 is 1, but its gradient would be NaN.
            return paddle.ones_like(loss)
        wrong = -paddle.expm1(-loss)  # 1 − p_t, also where p_t is nearly 1
        if self.gamma < 1:
            # The slope of a root is infinite at 0, where that of the loss is 0.
            wrong = wrong.clip(min=_SMALLEST)
        if self.threshold is None:
            return wrong**self.gamma
        return paddle.where(1 - wrong < self.threshold, paddle.ones_like(wrong), (wrong / self.threshold) ** self.gamma)
