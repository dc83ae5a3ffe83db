"""Inference without waiting for the device: tensors of fixed size from the maps to the objects, and one read at the end.

What is found is what the model finds on a CPU: where a chain of suppressed boxes is too long, or too many regions score, the
result says so, and the caller falls back to numpy.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import paddle
import paddle.nn.functional as F

from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.ops.roi_levels import pool_fixed
from ppdet_ext.modeling.ops.seam import in_float32
from ppdet_ext.modeling.ops.tensor_boxes import decode, has_extent
from ppdet_ext.modeling.ops.tensor_nms import keep_best
from ppdet_ext.structures import ProposalSettings, TestSettings

from .features import Features
from .rpn import HTCRPNHead, flatten
from .traced import UNIT, refine

NO_SCORE = -1.0
PAIRS = 4096  # pairs of a region and a class among which an image's objects are looked for


@dataclass(frozen=True)
class Proposals:
    """Regions of a batch, best first.

    Attributes:
        boxes: (B, k, 4) px; zeros of those that are none.
        scores: (B, k), NO_SCORE of those that are none.
        settled: whether NMS came to its end, bool.
        finite: whether all outputs are finite, bool.
    """

    boxes: paddle.Tensor
    scores: paddle.Tensor
    settled: paddle.Tensor
    finite: paddle.Tensor


def propose(
    head: HTCRPNHead,
    logits: list[paddle.Tensor],
    deltas: list[paddle.Tensor],
    im_shape: paddle.Tensor,
    settings: ProposalSettings,
) -> Proposals:
    """`HTCRPNHead.scored_proposals`, detached.

    Args:
        head: whose outputs these are.
        logits, deltas: per level (B, A, H, W) and (B, 4A, H, W).
        im_shape: (B, 2) float32 h, w px.
        settings: how many.
    """
    logits, deltas = ([in_float32(x) for x in maps] for maps in (logits, deltas))
    boxes, scores, settled = [], [], []
    image = im_shape.unsqueeze(1)
    finite = all_finite([*logits, *deltas])
    for level, (one, moves) in enumerate(zip(logits, deltas)):
        score = flatten(F.sigmoid(one.detach()), 1).squeeze(2)
        top = best_first(score, settings.pre_nms)
        score = paddle.take_along_axis(score, top, 1)
        anchors = paddle.to_tensor(head.grid.level(level, *one.shape[2:]).copy())
        box = decode(_rows_of(anchors.unsqueeze(0), top), _rows_of(flatten(moves.detach(), 4), top), UNIT, image)
        # Clipped to the image, boxes outside have no extent left.
        kept, done = keep_best(box, has_extent(box), settings.nms_iou)
        boxes.append(box)
        scores.append(paddle.where(kept, score, paddle.full_like(score, NO_SCORE)))
        settled.append(done)
    score, box = paddle.concat(scores, axis=1), paddle.concat(boxes, axis=1)
    order = best_first(score, settings.count)
    score = paddle.take_along_axis(score, order, 1)
    box = _rows_of(box, order) * (score > NO_SCORE).astype("float32").unsqueeze(2)
    return Proposals(box, score, paddle.stack(settled).all(), finite)


def best_first(scores: paddle.Tensor, count: int) -> paddle.Tensor:
    """Indices of the `count` best along the last axis; equal ones in their order, as on the CPU."""
    return paddle.argsort(scores, axis=-1, descending=True, stable=True)[..., :count]


def _rows_of(rows: paddle.Tensor, index: paddle.Tensor) -> paddle.Tensor:
    """rows (B or 1, n, 4) at index (B, k) -> (B, k, 4)."""
    base = paddle.arange(index.shape[0]).unsqueeze(1) * (rows.shape[1] if rows.shape[0] > 1 else 0)
    return paddle.gather(rows.reshape([-1, 4]), (index + base).flatten()).reshape([*index.shape, 4])


def all_finite(tensors: list[paddle.Tensor]) -> paddle.Tensor:
    """Whether every value of all is finite, a bool tensor."""
    return paddle.stack([paddle.isfinite(x).all() for x in tensors]).all()


class FixedRegions:
    """What the heads pool as many regions an image from; see `Features`."""

    def __init__(self, features: Features):
        self.features = features

    def pool(self, boxes: paddle.Tensor, size: int, semantic_merge: int) -> paddle.Tensor:
        """Both features of boxes (B, k, 4), added: (B·k, C, size, size)."""
        own, semantic = self.features.pyramid, self.features.semantic
        pooled = pool_fixed(own.maps, own.strides, own.finest_size, boxes, size)
        if semantic is None:
            return pooled
        return pooled + pool_fixed(semantic.maps, semantic.strides, semantic.finest_size, boxes, size, semantic_merge)


def detect(
    cascade: Any, features: Features, found: Proposals, im_shape: paddle.Tensor, settings: TestSettings
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]] | None:
    """`RegionCascade.detect`; None where it must be done in numpy.

    Args:
        cascade: the `RegionCascade`.
        features: of the batch.
        found: its proposals.
        im_shape: (B, 2) float32 h, w px.
        settings: thresholds.

    Raises:
        DivergenceError: an output is NaN or infinite.
    """
    regions, boxes, finite, stages = FixedRegions(features), found.boxes, [found.finite], []
    batch, count = boxes.shape[:2]
    image = im_shape.unsqueeze(1).expand([batch, count, 2]).reshape([-1, 2])
    for head in cascade.box_heads:
        pooled = regions.pool(boxes.reshape([batch, count, 4]), cascade.box_size, 2)
        logits, deltas = (in_float32(x) for x in head(pooled))
        finite.append(all_finite([logits, deltas]))
        stages.append(logits)
        boxes = refine(head, boxes.reshape([-1, 4]), deltas, image)
    scores = F.softmax(paddle.add_n(stages) / float(len(stages)), axis=1)[:, :-1]
    scores = paddle.where(found.scores.reshape([-1, 1]) > NO_SCORE, scores, paddle.full_like(scores, NO_SCORE))
    picked = [
        select(b.reshape([count, *boxes.shape[1:]]), s, settings)
        for b, s in zip(boxes.chunk(batch), scores.chunk(batch), strict=True)
    ]
    objects, best, labels = (paddle.stack(part) for part in list(zip(*picked))[:3])
    settled = paddle.stack([found.settled, *(one[3] for one in picked)]).all()
    parts = [objects, best, labels.astype("float32")]
    if cascade.with_mask:
        probs = in_float32(cascade.probabilities(regions.pool(objects, cascade.mask_size, 1), labels.flatten()))
        finite.append(all_finite([probs]))
        parts.append(probs)
    return _read(parts, paddle.stack(finite).all(), settled)


def select(
    boxes: paddle.Tensor, scores: paddle.Tensor, settings: TestSettings
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """`select_objects` of an image: boxes (m, 4), scores (m,), NO_SCORE if none, labels (m,); whether that is final.

    Args:
        boxes: (n, 4), or (n, classes, 4).
        scores: (n, classes).
        settings: thresholds.
    """
    count, classes = scores.shape
    # Class after class, which is the order of equal scores on the CPU.
    every = scores.transpose([1, 0]).flatten()
    every = paddle.where(every > settings.score_threshold, every, paddle.full_like(every, NO_SCORE))
    top = best_first(every, PAIRS)
    best, labels, rows = paddle.gather(every, top), top // count, top % count
    own = paddle.gather(boxes, rows) if len(boxes.shape) == 2 else paddle.gather_nd(boxes, paddle.stack([rows, labels], 1))
    valid = best > NO_SCORE
    kept, done = keep_best(own.unsqueeze(0), valid.unsqueeze(0), settings.nms_iou, labels.unsqueeze(0))
    kept = kept.squeeze(0)
    # Final if the best are all there, or if no pair with a score was left out.
    enough = kept.sum() >= settings.max_detections
    done = done & (enough | (valid.sum() < PAIRS) | paddle.to_tensor(count * classes <= PAIRS))
    best = paddle.where(kept, best, paddle.full_like(best, NO_SCORE))
    first = best_first(best, settings.max_detections)
    return paddle.gather(own, first), paddle.gather(best, first), paddle.gather(labels, first), done


def _read(parts: list[paddle.Tensor], finite: paddle.Tensor, settled: paddle.Tensor) -> list[tuple] | None:
    """The objects of each image; the only time that the host waits."""
    flat = paddle.concat(
        [*(x.flatten() for x in parts), finite.astype("float32").reshape([1]), settled.astype("float32").reshape([1])]
    )
    values = flat.numpy()
    if not values[-2]:
        raise DivergenceError("an output of the detector is not finite")
    if not values[-1]:
        return None
    arrays, start = [], 0
    for part in parts:
        size = int(np.prod(part.shape))
        arrays.append(values[start : start + size].reshape(part.shape))
        start += size
    boxes, scores, labels = arrays[:3]
    probs = arrays[3].reshape(*labels.shape, *arrays[3].shape[1:]) if len(arrays) > 3 else None
    out = []
    for b, own in enumerate(scores > NO_SCORE):
        masks = None if probs is None else probs[b][own]
        out.append((boxes[b][own], scores[b][own], labels[b][own].astype(np.int64), masks))
    return out
