"""Assignment and sampling as tensors of fixed size: what `assignment` does in numpy, without asking the host for a number."""

from dataclasses import dataclass

import paddle

from ppdet_ext.modeling.ops.tensor_boxes import pairwise_iou

from .assignment import IGNORED, NEGATIVE, IoUAssigner, RoISampler


def assign(assigner: IoUAssigner, boxes: paddle.Tensor, objects: paddle.Tensor, known: paddle.Tensor) -> paddle.Tensor:
    """What `assigner` does: index of each box's object, NEGATIVE or IGNORED, (n,) int64.

    Args:
        assigner: the thresholds.
        boxes: (n, 4) float32 px, n > 0.
        objects: (m, 4) float32 px.
        known: (n,) bool; the others are ignored, and are no object's best.
    """
    assigned = paddle.full([boxes.shape[0]], IGNORED, "int64")
    negative = paddle.full_like(assigned, NEGATIVE)
    count = objects.shape[0]
    if count == 0:
        return paddle.where(known, negative, assigned)
    iou = pairwise_iou(boxes, objects)
    iou = paddle.where(known.unsqueeze(1), iou, paddle.full_like(iou, -1.0))
    best, index = iou.max(axis=1), paddle.arange(count).unsqueeze(0).expand_as(iou)
    # Of equal ones the first object; which one `argmax` gives is not said.
    owner = paddle.where(iou == best.unsqueeze(1), index, paddle.full_like(index, count)).min(axis=1)
    assigned = paddle.where(best < assigner.negative, negative, assigned)
    assigned = paddle.where(best >= assigner.positive, owner, assigned)
    if assigner.low_quality:
        peak = iou.max(axis=0, keepdim=True)
        tie = paddle.logical_and(iou == peak, peak >= assigner.min_positive)
        last = paddle.where(tie, index, paddle.full_like(index, -1)).max(axis=1)  # a later object overrules an earlier
        assigned = paddle.where(last >= 0, last, assigned)
    return paddle.where(known, assigned, paddle.full_like(assigned, IGNORED))


def sampled(
    assigned: paddle.Tensor, count: int, positive_fraction: float, keys: paddle.Tensor
) -> tuple[paddle.Tensor, paddle.Tensor]:
    """`sample_balanced`: which boxes are sampled as positives and which as negatives, (n,) bool each; keys (n,)."""
    most = int(count * positive_fraction)
    positive = _chosen(assigned >= 0, paddle.full([], most, "int64"), keys)
    return positive, _chosen(assigned == NEGATIVE, count - positive.sum(), keys)


def _chosen(candidates: paddle.Tensor, count: paddle.Tensor, keys: paddle.Tensor) -> paddle.Tensor:
    """The `count` candidates with the largest keys; of equal ones the first."""
    order = paddle.argsort(paddle.where(candidates, keys, paddle.full_like(keys, -1.0)), descending=True, stable=True)
    return paddle.logical_and(candidates, paddle.argsort(order) < count)


def first_rows(groups: list[paddle.Tensor], count: int) -> paddle.Tensor:
    """Indices of the rows of the first group (n,) bool, then of the second …, then of the rest; `count` of them at most."""
    key = paddle.full([groups[0].shape[0]], len(groups), "int64")
    for number, group in reversed(list(enumerate(groups))):
        key = paddle.where(group, paddle.full_like(key, number), key)
    return paddle.argsort(key, stable=True)[:count]


@dataclass(frozen=True)
class FixedSample:
    """Regions of one image that a stage learns from, as `RoISample`, with rows that are none at the end.

    Attributes:
        boxes: (n, 4) float32 px; zeros of rows that are none.
        valid, positive, is_object: (n,) bool.
        object_index: (n,) int64, the object of a positive, else 0.
    """

    boxes: paddle.Tensor
    valid: paddle.Tensor
    positive: paddle.Tensor
    is_object: paddle.Tensor
    object_index: paddle.Tensor


def sample(
    sampler: RoISampler, proposals: paddle.Tensor, valid: paddle.Tensor, objects: paddle.Tensor, keys: paddle.Tensor
) -> FixedSample:
    """What `sampler` does with proposals (n, 4), of which `valid` (n,) are some, and objects (m, 4); keys (m + n,)."""
    count = objects.shape[0]
    own = paddle.arange(count) if count else paddle.zeros([0], "int64")
    assigned = paddle.concat([own, assign(sampler.assigner, proposals, objects, valid)])
    positive, negative = sampled(assigned, sampler.count, sampler.positive_fraction, keys)
    rows = first_rows([positive, negative], sampler.count)
    positive, negative = paddle.gather(positive, rows), paddle.gather(negative, rows)
    used = paddle.logical_or(positive, negative)
    boxes = paddle.gather(paddle.concat([objects, proposals]), rows) * used.astype("float32").unsqueeze(1)
    is_object = paddle.logical_and(positive, rows < count)
    index = paddle.where(positive, paddle.gather(assigned, rows), paddle.zeros_like(rows))
    parts = (boxes, used, positive, is_object, index)
    return FixedSample(*(_padded(x, sampler.count) for x in parts))


def _padded(rows: paddle.Tensor, count: int) -> paddle.Tensor:
    """Rows (n, …) with zeros behind them, `count` in all, so that images of a batch have as many."""
    missing = count - rows.shape[0]
    return rows if missing <= 0 else paddle.concat([rows, paddle.zeros([missing, *rows.shape[1:]], rows.dtype)])
