"""Losses of single pixels: binary and softmax cross-entropy."""

from collections.abc import Sequence

import paddle
import paddle.nn.functional as F

from ppdet_ext.host.registry import number_in, register_segmentation_loss

from .base import MULTILABEL, SegmentationLoss, counted_pixels


@register_segmentation_loss
class BCE(SegmentationLoss):
    """Binary cross-entropy of each pixel and class, averaged over all of them.

    Ignored ones are 0 and stay in the denominator, as in segmentation_models_pytorch's SoftBCEWithLogitsLoss.

    Args:
        weight: factor of the loss.
        smoothing: label smoothing s: targets become s and 1 − s.
        pos_weight: factor of the pixels that are of the class, one for all classes or one for each; None for 1.
    """

    tasks = (MULTILABEL,)

    def __init__(self, weight: float = 1.0, smoothing: float = 0.0, pos_weight: float | Sequence[float] | None = None) -> None:
        super().__init__(weight)
        self.smoothing = number_in(smoothing, "BCE.smoothing", 0, 1)
        self.pos_weight = None if pos_weight is None else [float(one) for one in _sequence(pos_weight)]

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        counted = counted_pixels(targets).astype(logits.dtype)
        targets = targets.astype(logits.dtype) * counted
        if self.smoothing:
            targets = targets * (1 - 2 * self.smoothing) + self.smoothing
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="none", pos_weight=self._factors(logits))
        return (loss * counted).mean()

    def _factors(self, logits: paddle.Tensor) -> paddle.Tensor | None:
        if self.pos_weight is None:
            return None
        return paddle.to_tensor(self.pos_weight, logits.dtype).reshape([-1, 1, 1]).expand(logits.shape[1:])


def _sequence(value: float | Sequence[float]) -> Sequence[float]:
    return value if isinstance(value, Sequence) else [value]
