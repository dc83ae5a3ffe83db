"""Mirrored views of an image in a traced graph: `inference.views` and what `inference.ensemble` puts together, as tensors.

Of one view all of it is that view's own tensors, so that a graph of one holds no operator for it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import paddle

from ppdet_ext.modeling.ops.tensor_nms import keep_best_across
from ppdet_ext.modeling.ops.traced_nms import NO_SCORE, filled
from ppdet_ext.structures import ProposalSettings

Flip = tuple[bool, bool]
AS_IT_IS: Flip = (False, False)


@dataclass(frozen=True)
class TracedView:
    """What the network has made of one view of one image.

    Attributes:
        maps: pyramid, per level (1, channels, H, W).
        image: (1, 2) float32 h, w px of the image without padding, within which it was mirrored.
        flip: whether it is mirrored left and right, top and bottom.
    """

    maps: list[paddle.Tensor]
    image: paddle.Tensor
    flip: Flip = AS_IT_IS

    def mirrored(self, boxes: paddle.Tensor) -> paddle.Tensor:
        """Boxes (…, 4) px of the image -> of the view; and of the view -> of the image, since twice mirrored is as it was."""
        if self.flip == AS_IT_IS:
            return boxes
        x1, y1, x2, y2 = (boxes[..., k : k + 1] for k in range(4))
        height, width = self.image[:, :1], self.image[:, 1:]
        horizontal, vertical = self.flip
        if horizontal:
            x1, x2 = width - x2, width - x1
        if vertical:
            y1, y2 = height - y2, height - y1
        return paddle.concat([x1, y1, x2, y2], axis=-1)

    def unmirrored(self, probs: paddle.Tensor) -> paddle.Tensor:
        """Masks (n, S, S) of boxes in the view -> of the same in the image."""
        if self.flip == AS_IT_IS:
            return probs
        # Converters know no operator that mirrors; and of no masks Paddle Inference would gather some, so there is one more.
        probs = paddle.concat([probs, paddle.zeros([1, *probs.shape[1:]])])
        backwards = paddle.arange(probs.shape[2] - 1, -1, -1)
        for axis, mirrored in zip((2, 1), self.flip):
            probs = paddle.gather(probs, backwards, axis=axis) if mirrored else probs
        return probs[:-1]


def mean(values: Sequence[paddle.Tensor]) -> paddle.Tensor:
    """The mean of tensors of one shape."""
    return values[0] if len(values) == 1 else paddle.add_n(list(values)) / float(len(values))


def merged(
    views: Sequence[TracedView], found: Sequence[tuple[paddle.Tensor, paddle.Tensor]], settings: ProposalSettings
) -> paddle.Tensor:
    """`inference.ensemble.merge_proposals`: a proposal goes where a better one of another view overlaps it.

    Args:
        views: of an image.
        found: of each view proposals (n, 4) px of the view, best first, and their scores (n,); n is `settings.count` at most.
        settings: overlap, and how many are kept.

    Returns:
        (m, 4) float32 px of the image, best first.
    """
    if len(views) == 1:
        return views[0].mirrored(found[0][0])
    count = settings.count
    boxes = paddle.concat([filled(view.mirrored(own), count, 0.0) for view, (own, _) in zip(views, found)])
    scores = paddle.concat([filled(own, count, NO_SCORE) for _, own in found])
    source = paddle.concat([paddle.full([count], float(number)) for number in range(len(views))])
    order = paddle.argsort(-scores, stable=True)
    boxes, scores, source = (paddle.gather(own, order) for own in (boxes, scores, source))
    alone, valid, from_view = (own.unsqueeze(0) for own in (boxes, scores > NO_SCORE, source))
    kept = keep_best_across(alone, valid, from_view, settings.nms_iou, len(views))
    return paddle.gather(boxes, paddle.nonzero(kept.squeeze(0)).flatten()[:count])
