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
    across: bool = False,
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """Greedy non-maximum suppression in each of several groups.

    A box stays unless a better one that stays overlaps it: whoever stays is fixed one after the other, so a round that changes
    nothing has found what the greedy algorithm finds.

    Args:
        boxes: (groups, n, 4) float32, best first.
        valid: (groups, n) bool, boxes that count.
        threshold: a box goes when its IoU with a kept better one is greater.
        source: (groups, n); only boxes of the same source suppress each other.
        rounds: after which to give up.
        across: boxes of another source suppress each other instead, and those of the same let each other be.

    Returns:
        (groups, n) bool, the boxes kept; and a bool tensor: whether that is final.
    """
    inter, areas = intersection(boxes, boxes), area(boxes)
    # Multiplied out, as on the CPU: no division by the union of two empty boxes.
    over = inter > threshold * (areas.unsqueeze(2) + areas.unsqueeze(1) - inter)
    if source is not None:
        same = source.unsqueeze(2) == source.unsqueeze(1)
        over = paddle.logical_and(over, paddle.logical_not(same) if across else same)
    beats = paddle.triu(over.astype("float32"), 1)  # [better, worse]
    every = valid.astype("float32").unsqueeze(1)
    kept = before = every
    for _ in range(rounds):
        # By how many kept ones a box is beaten is a whole number, and it stays where that is 0.
        before, kept = kept, every * F.relu(1.0 - paddle.matmul(kept, beats))
    return kept.squeeze(1) > 0, (kept == before).all()
