"""The Lovász extension of the Jaccard loss."""

import paddle
import paddle.nn.functional as F

from ppdet_ext.host.registry import register_segmentation_loss

from .base import SegmentationLoss, counted_pixels

_LAST = -3e38  # an error that is sorted behind all others


@register_segmentation_loss
class Lovasz(SegmentationLoss):
    """The convex extension of 1 − IoU (arXiv 1705.08790): errors sorted, each weighted by what its pixel takes off the IoU.

    Multilabel: the hinge, all classes in one list; an image (or batch) without an annotated pixel pays its largest error alone.
    Multiclass: of softmax probabilities, the mean over the classes that occur. Where all is ignored it is 0.

    Args:
        weight: factor of the loss.
        per_image: the mean of the images' losses, in place of one list of all pixels of the batch.
    """

    def __init__(self, weight: float = 1.0, per_image: bool = False) -> None:
        super().__init__(weight)
        self.per_image = per_image

    def value(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        groups = logits.shape[0] if self.per_image else 1
        if targets.ndim < logits.ndim:
            return self._softmax(logits, targets, groups)
        there = (targets == 1).reshape([groups, -1])
        errors = 1 - logits.reshape([groups, -1]) * (2 * there.astype(logits.dtype) - 1)
        wrong = (errors > 0) & counted_pixels(targets).reshape([groups, -1])
        return paddle.stack([_hinge(*group) for group in zip(errors, there, wrong)]).sum() / groups

    def _softmax(self, logits: paddle.Tensor, targets: paddle.Tensor, groups: int) -> paddle.Tensor:
        classes = logits.shape[1]
        # Each class of each group is a list of pixels: (groups, classes, pixels).
        probabilities = F.softmax(logits, axis=1).flatten(2)
        targets = targets.flatten(1).unsqueeze(1)
        if groups == 1:
            probabilities = probabilities.transpose([1, 0, 2]).reshape([1, classes, -1])
            targets = targets.transpose([1, 0, 2]).reshape([1, 1, -1])
        there = targets == paddle.arange(classes, dtype=targets.dtype).reshape([1, -1, 1])
        counted = counted_pixels(targets).expand(there.shape)
        terms = lovasz_terms((there.astype(logits.dtype) - probabilities).abs(), there, counted)
        occurs = there.any(-1, keepdim=True).astype(logits.dtype)
        return (terms * (occurs / occurs.sum(1, keepdim=True).clip(min=1))).sum() / groups


def _hinge(errors: paddle.Tensor, there: paddle.Tensor, wrong: paddle.Tensor) -> paddle.Tensor:
    """The loss of one list of pixels, (N,) each. Only those that are `wrong` are sorted: soon they are few."""
    with paddle.no_grad():
        places = paddle.nonzero(wrong).flatten()
        total = there.astype("int64").sum()
    if not places.size:
        return errors.sum() * 0.0
    chosen = paddle.gather(errors, places)
    return lovasz_terms(chosen, paddle.gather(there, places), paddle.ones_like(chosen, dtype="bool"), total).sum()


def lovasz_terms(
    errors: paddle.Tensor, there: paddle.Tensor, counted: paddle.Tensor, total: paddle.Tensor | None = None
) -> paddle.Tensor:
    """max(error, 0) · (what its pixel adds to 1 − IoU, those with larger errors being wrong already), whose sum is the loss.

    Args:
        errors: (…, N) of pixels.
        there: (…, N) bool, the pixel is annotated.
        counted: (…, N) bool.
        total: number of annotated pixels where the lists do not have all of them.

    Returns:
        (…, N) of the errors' type, by falling error. Their sum's gradient is the weight of each pixel with a positive error.
    """
    with paddle.no_grad():
        # An ignored pixel comes last with no error, so that it changes nothing.
        order = paddle.argsort(
            paddle.where(counted, errors, paddle.full_like(errors, _LAST)), axis=-1, descending=True, stable=True
        )
        weights = _steps(paddle.take_along_axis(there.astype("int64"), order, -1), total).astype(errors.dtype)
    positive = F.relu(errors) * counted.astype(errors.dtype)
    return paddle.take_along_axis(positive, order, -1) * weights


def _steps(there: paddle.Tensor, total: paddle.Tensor | None = None) -> paddle.Tensor:
    """Growth of 1 − I/U at each pixel of lists (…, N) of 0 and 1, int64; float64.

    An annotated pixel takes 1 from I: 1/U. Another one adds 1 to U: I/(U − 1) − I/U. Counted exactly, where differences of
    neighbouring quotients in float32 would be noise in lists of millions.
    """
    total = there.sum(-1, keepdim=True) if total is None else total
    shared = (total - there.cumsum(-1)).astype("float64")
    union = (total + (1 - there).cumsum(-1)).astype("float64")
    other = shared / union / (union - 1).clip(min=1)
    # Without any annotated pixel the first wrong one makes the IoU 0.
    first = ((union == 1) & (there == 0)).astype("float64")
    return paddle.where(there == 1, 1 / union, other + first)
