"""Boxes as tensors, on whatever device they are, and in traced graphs; `boxes` has the same in numpy. (…, 4) px, no +1."""

from collections.abc import Sequence

import paddle

from .boxes import MAX_LOG_RATIO


def area(boxes: paddle.Tensor) -> paddle.Tensor:
    """Areas in px² of boxes (…, 4): (…)."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def has_extent(boxes: paddle.Tensor) -> paddle.Tensor:
    """Which of boxes (…, 4) are wider and higher than nothing, (…) bool."""
    return paddle.logical_and(boxes[..., 2] > boxes[..., 0], boxes[..., 3] > boxes[..., 1])


def encode(boxes: paddle.Tensor, targets: paddle.Tensor, stds: Sequence[float]) -> paddle.Tensor:
    """Deltas (n, 4) that `decode` turns `boxes` into `targets` with (R-CNN, arXiv 1311.2524, appendix C)."""
    size, goal = boxes[:, 2:] - boxes[:, :2], targets[:, 2:] - targets[:, :2]
    centre, goal_centre = (boxes[:, :2] + boxes[:, 2:]) * 0.5, (targets[:, :2] + targets[:, 2:]) * 0.5
    deltas = paddle.concat([(goal_centre - centre) / size, paddle.log(goal / size)], axis=1)
    return deltas / _constant(stds)


def decode(boxes: paddle.Tensor, deltas: paddle.Tensor, stds: Sequence[float], image: paddle.Tensor) -> paddle.Tensor:
    """Apply deltas to boxes, both (…, 4) float32, and clip to images of sizes (…, 2): h, w px; they broadcast."""
    deltas = deltas * _constant(stds)
    centre, size = (boxes[..., :2] + boxes[..., 2:]) * 0.5, boxes[..., 2:] - boxes[..., :2]
    centre = centre + size * deltas[..., :2]
    limit = float(MAX_LOG_RATIO)
    half = size * paddle.exp(paddle.clip(deltas[..., 2:], -limit, limit)) * 0.5
    return clip(paddle.concat([centre - half, centre + half], axis=-1), image)


def clip(boxes: paddle.Tensor, image: paddle.Tensor) -> paddle.Tensor:
    """Boxes (…, 4) cut to images of sizes (…, 2): h, w px."""
    height, width = image[..., :1], image[..., 1:]
    limit = paddle.concat([width, height, width, height], axis=-1)
    return paddle.minimum(paddle.maximum(boxes, paddle.zeros([1])), limit)


def pairwise_iou(a: paddle.Tensor, b: paddle.Tensor) -> paddle.Tensor:
    """Intersection over union of boxes (…, n, 4) and (…, m, 4): (…, n, m). Empty boxes give 0."""
    inter = intersection(a, b)
    union = area(a).unsqueeze(-1) + area(b).unsqueeze(-2) - inter
    return inter / paddle.clip(union, min=1e-6)  # two empty boxes have no union; the bound is the reference's


def intersection(a: paddle.Tensor, b: paddle.Tensor) -> paddle.Tensor:
    """Common area in px² of boxes (…, n, 4) and (…, m, 4): (…, n, m)."""
    one, other = a.unsqueeze(-2), b.unsqueeze(-3)
    width = paddle.minimum(one[..., 2], other[..., 2]) - paddle.maximum(one[..., 0], other[..., 0])
    height = paddle.minimum(one[..., 3], other[..., 3]) - paddle.maximum(one[..., 1], other[..., 1])
    return paddle.clip(width, min=0.0) * paddle.clip(height, min=0.0)


def _constant(values: Sequence[float]) -> paddle.Tensor:
    return paddle.to_tensor([float(value) for value in values], dtype="float32")
