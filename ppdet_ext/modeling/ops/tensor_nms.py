"""Greedy NMS as tensors of fixed size, which asks the host nothing: all overlaps at once, then rounds until nothing changes."""

import paddle

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

    A box stays unless a better one that stays overlaps it: whoever stays is fixed one after the other, so a round that changes
    nothing has found what the greedy algorithm finds.

    Args:
        boxes: (groups, n, 4) float32, best first.
        valid: (groups, n) bool, boxes that count.
        threshold: a box goes when its IoU with a kept better one is greater.
        source: (groups, n); only boxes of the same source suppress each other.
        rounds: after which to give up.

    Returns:
        (groups, n) bool, the boxes kept; and a bool tensor: whether that is final.
    """
    inter, areas = intersection(boxes, boxes), area(boxes)
    # Multiplied out, as on the CPU: no division by the union of two empty boxes.
    over = inter > threshold * (areas.unsqueeze(2) + areas.unsqueeze(1) - inter)
    if source is not None:
        over = paddle.logical_and(over, source.unsqueeze(2) == source.unsqueeze(1))
    beats = paddle.triu(over.astype("float32"), 1)  # [better, worse]
    kept = before = valid
    for _ in range(rounds):
        beaten = paddle.matmul(kept.astype("float32").unsqueeze(1), beats).squeeze(1) > 0
        before, kept = kept, paddle.logical_and(valid, paddle.logical_not(beaten))
    return kept, (kept == before).all()
