"""Losses of predictions, and the zero loss of a head that saw nothing."""

from collections.abc import Callable

import paddle
import paddle.nn.functional as F
from paddle import nn

from .seam import takes_ours

# Of predictions and targets.
Loss = Callable[[paddle.Tensor, paddle.Tensor], paddle.Tensor]

_LARGEST_GAP = 64.0  # Paddle's softmax on a CPU takes a logit that is farther below the largest one as this far below it


def cross_entropy(logits: paddle.Tensor, labels: paddle.Tensor, axis: int = -1, ignore_index: int = -100) -> paddle.Tensor:
    """log Σ exp(logits) − logits[label] of each sample, 0 of an ignored one; of the labels' shape.

    Paddle's own gives at most about 64 for a sample, however wrong it is; its gradient, softmax − one-hot, is right. So the
    missing part is a constant, and a batch without such a sample keeps every bit.

    Args:
        logits: float32, classes along `axis`.
        labels: int64, of the logits' shape without `axis`.
        ignore_index: label of samples that do not count.
    """
    loss = F.cross_entropy(logits, labels, reduction="none", axis=axis, ignore_index=ignore_index)
    with paddle.no_grad():
        counted = labels != ignore_index
        own = paddle.take_along_axis(logits, paddle.where(counted, labels, 0).unsqueeze(axis), axis)
        top = logits.max(axis, keepdim=True)
        capped = (top - own > _LARGEST_GAP).squeeze(axis) & counted
        if takes_ours(logits) and not capped.any():  # to look costs a device more than the sum
            return loss
        exact = (top - own + (logits - top).exp().sum(axis, keepdim=True).log()).squeeze(axis)
        missing = paddle.where(capped, exact - loss, 0.0)
    return loss + missing


def smooth_l1(prediction: paddle.Tensor, target: paddle.Tensor, beta: float) -> paddle.Tensor:
    """Sum of 0.5·d²/beta where |d| < beta, |d| − 0.5·beta elsewhere (Fast R-CNN, arXiv 1504.08083); L1 where beta is 0."""
    if beta == 0:
        return (prediction - target).abs().sum()
    # Paddle's is the Huber loss, which is beta times this one.
    return F.smooth_l1_loss(prediction, target, reduction="sum", delta=beta) / beta


def zero_loss(*layers: nn.Layer) -> paddle.Tensor:
    """A loss of 0 that reaches every parameter, so that ranks without a positive sample still agree on the graph."""
    return sum((p.sum() * 0.0 for layer in layers for p in layer.parameters()), paddle.zeros([]))
