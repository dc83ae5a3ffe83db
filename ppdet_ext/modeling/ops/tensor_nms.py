"""Greedy NMS as tensors of fixed size, which asks the host nothing: all overlaps at once, then rounds until nothing changes."""

import paddle
import paddle.nn.functional as F

from .tensor_boxes import area, intersection

ROUNDS = 32  # chains of boxes that suppress each other in turn are shorter, except in constructed cases


def keep_best(
    boxes: paddle.Tensor,
    valid: paddle.Tensor,
    threshold: float,
    source: paddle.Tensor | None = None,
    rounds: int = ROUNDS,
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Greedy non-maximum suppression in each of several groups.

    Args:
        boxes: (groups, n, 4) float32, best first.
        valid: (groups, n) bool, boxes that count.
        threshold: a box goes when its IoU with a kept better one is greater.
        source: (groups, n); only boxes of the same source suppress each other.
        rounds: after which to give up.

    Returns:
        (groups, n) bool, the boxes kept; and a bool tensor: whether that is final.
    """
    over = _overlapping(boxes, boxes, threshold)
    if source is not None:
        over = paddle.logical_and(over, source.unsqueeze(2) == source.unsqueeze(1))
    return _survivors(paddle.triu(over.astype("float32"), 1), valid, rounds)


def keep_best_across(
    boxes: paddle.Tensor, valid: paddle.Tensor, source: paddle.Tensor, threshold: float, pieces: int
) -> paddle.Tensor:
    """`keep_best` where boxes suppress those of another source alone: which are kept, (groups, n) bool.

    pieces: a divisor of n. All pairs take 4·n² bytes, and what they are computed of a few times that, divided by the pieces.
    """
    size, parts = boxes.shape[1] // pieces, []
    for k in range(pieces):
        worse = slice(k * size, (k + 1) * size)
        over = _overlapping(boxes, boxes[:, worse], threshold)
        over = paddle.logical_and(over, source.unsqueeze(2) != source[:, worse].unsqueeze(1))
        parts.append(paddle.triu(over.astype("float32"), 1 - k * size))
    return _survivors(paddle.concat(parts, axis=2), valid, ROUNDS)[0]


def _overlapping(boxes: paddle.Tensor, others: paddle.Tensor, threshold: float) -> paddle.Tensor:
    """Whether the IoU of boxes (groups, n, 4) and others (groups, m, 4) is above a threshold, (groups, n, m) bool."""
    inter = intersection(boxes, others)
    # Multiplied out, as on the CPU: no division by the union of two empty boxes.
    return inter > threshold * (area(boxes).unsqueeze(2) + area(others).unsqueeze(1) - inter)


def _survivors(beats: paddle.Tensor, valid: paddle.Tensor, rounds: int) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Boxes (groups, n) that no better one that stays beats, and whether that is final.

    Whoever stays is fixed one after the other, so a round that changes nothing has found what the greedy algorithm finds.

    Args:
        beats: (groups, n, n) float32, 1 where the first of a pair would suppress the second.
        valid: (groups, n) bool, boxes that count.
        rounds: after which to give up.
    """
    every = valid.astype("float32").unsqueeze(1)
    kept = before = every
    for _ in range(rounds):
        # By how many kept ones a box is beaten is a whole number, and it stays where that is 0.
        before, kept = kept, every * F.relu(1.0 - paddle.matmul(kept, beats))
    return kept.squeeze(1) > 0, (kept == before).all()
