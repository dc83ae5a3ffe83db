"""Losses without waiting for the device, except once a mask stage, whose targets the host cuts out of run lengths."""

from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn.functional as F

from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.ops.loss_functions import smooth_l1
from ppdet_ext.modeling.ops.seam import in_float32
from ppdet_ext.modeling.ops.tensor_boxes import encode
from ppdet_ext.structures import ProposalSettings

from .assignment import RoISample, keys_of
from .box_head import BoxHead
from .cascade import RegionCascade
from .ground_truth import GroundTruth
from .losses import Losses
from .on_device import NO_SCORE, FixedRegions, Proposals, all_finite, propose
from .rpn import HTCRPNHead, flatten
from .tensor_assignment import FixedSample, assign, first_rows, sample, sampled
from .traced import UNIT, refine

Rngs = Sequence[np.random.Generator | None]


class UnsettledError(Exception):
    """NMS did not come to its end; the step must be computed in numpy, with the images' generators as they were."""


def rpn_losses(
    head: HTCRPNHead, logits: list[paddle.Tensor], deltas: list[paddle.Tensor], truth: list[GroundTruth], rngs: Rngs
) -> Losses:
    """`HTCRPNHead.losses`."""
    logits, deltas = ([in_float32(x) for x in maps] for maps in (logits, deltas))
    sizes = [tuple(x.shape[2:]) for x in logits]
    anchors = paddle.to_tensor(head.anchors(sizes).copy())
    scores = paddle.concat([flatten(x, 1) for x in logits], axis=1).squeeze(2)
    moves = paddle.concat([flatten(x, 4) for x in deltas], axis=1)
    parts = [
        _image_rpn_losses(head, anchors, scores[b], moves[b], own, head.known(sizes, own.height, own.width), rng)
        for b, (own, rng) in enumerate(zip(truth, rngs, strict=True))
    ]
    cls, reg, count = (paddle.add_n(list(part)) for part in zip(*parts))
    losses, at_least_one = Losses(), paddle.clip(count, min=1.0)
    losses.add("loss_rpn_cls", cls / at_least_one, count)
    losses.add("loss_rpn_reg", reg / at_least_one, count)
    return losses


def _image_rpn_losses(
    head: HTCRPNHead,
    anchors: paddle.Tensor,
    scores: paddle.Tensor,
    moves: paddle.Tensor,
    truth: GroundTruth,
    known: np.ndarray,
    rng: np.random.Generator | None,
) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
    """Sums of both losses over an image's sampled anchors, and their number."""
    objects = paddle.to_tensor(truth.boxes)
    assigned = assign(head.assigner, anchors, objects, paddle.to_tensor(known))
    keys = paddle.to_tensor(keys_of(rng, len(known)))
    positive, negative = sampled(assigned, head.num_samples, head.positive_fraction, keys)
    rows = first_rows([positive, negative], head.num_samples)
    label, used = (paddle.gather(x.astype("float32"), rows) for x in (positive, paddle.logical_or(positive, negative)))
    cls = F.binary_cross_entropy_with_logits(paddle.gather(scores, rows), label, weight=used, reduction="sum")
    own, box = label.astype("bool"), paddle.gather(anchors, rows)
    goal = encode(box, _targets(box, objects, paddle.gather(assigned, rows), own), UNIT)
    return cls, _masked_smooth_l1(paddle.gather(moves, rows), goal, own, head.smooth_l1_beta), used.sum()


def _targets(boxes: paddle.Tensor, objects: paddle.Tensor, index: paddle.Tensor, own: paddle.Tensor) -> paddle.Tensor:
    """objects[index] where `own`, elsewhere the boxes themselves, whose deltas are 0."""
    if objects.shape[0] == 0:
        return boxes
    return paddle.where(own.unsqueeze(1), paddle.gather(objects, paddle.clip(index, min=0)), boxes)


def _masked_smooth_l1(moves: paddle.Tensor, goal: paddle.Tensor, own: paddle.Tensor, beta: float) -> paddle.Tensor:
    zero = paddle.zeros_like(goal)
    return smooth_l1(paddle.where(own.unsqueeze(1), moves, zero), paddle.where(own.unsqueeze(1), goal, zero), beta)


def propose_for_training(
    head: HTCRPNHead, logits: list, deltas: list, truth: list[GroundTruth], settings: ProposalSettings
) -> Proposals:
    """`propose` of a training batch."""
    shapes = paddle.to_tensor(np.array([(t.height, t.width) for t in truth], np.float32))
    with paddle.no_grad():
        return propose(head, logits, deltas, shapes, settings)


class DeviceCascade:
    """`RegionCascade.losses` on a device.

    Args:
        cascade: its heads.
        truth: per image.
        rngs: per image, for sampling.
    """

    def __init__(self, cascade: RegionCascade, truth: list[GroundTruth], rngs: Rngs):
        self.cascade, self.truth, self.rngs = cascade, truth, rngs
        self.objects = [paddle.to_tensor(t.boxes) for t in truth]
        self.finite: list[paddle.Tensor] = []

    def losses(self, feats: list[paddle.Tensor], found: Proposals, semantic_target: paddle.Tensor | None) -> Losses:
        """All weighted losses of all stages.

        Raises:
            DivergenceError: an output is NaN or infinite.
            UnsettledError: the proposals are not final.
        """
        cascade = self.cascade
        features, logits = cascade.features(feats, with_logits=semantic_target is not None)
        losses, regions = cascade.semantic_losses(logits, semantic_target), FixedRegions(features)
        self.finite = [found.finite]
        batch = range(len(self.truth))
        proposals = [(found.boxes[b], found.scores[b] > NO_SCORE) for b in batch]
        for s, head in enumerate(cascade.box_heads):
            samples = self._sample(s, proposals)
            deltas = self._add_box_losses(losses, s, regions, samples)
            if cascade.interleaved or s + 1 < len(cascade.box_heads):
                proposals = self._refine(head, samples, deltas)
            if cascade.with_mask:
                own = self._read(self._sample(s, proposals) if cascade.interleaved else samples, found.settled)
                loss = cascade.mask_loss_of(s, features, own, self.truth)
                losses.add(f"loss_mask_stage{s}", loss, sum(x.num_positive for x in own))
        if not cascade.with_mask:
            _check(paddle.stack([paddle.stack(self.finite).all(), found.settled]).astype("float32").numpy())
        return losses

    def _sample(self, stage: int, proposals: list[tuple[paddle.Tensor, paddle.Tensor]]) -> list[FixedSample]:
        sampler = self.cascade.samplers[stage]
        return [
            sample(sampler, boxes, valid, own, paddle.to_tensor(keys_of(rng, len(own) + len(boxes))))
            for (boxes, valid), own, rng in zip(proposals, self.objects, self.rngs, strict=True)
        ]

    def _add_box_losses(
        self, losses: Losses, stage: int, regions: FixedRegions, samples: list[FixedSample]
    ) -> list[paddle.Tensor]:
        """Put in the losses of a stage's box head; the deltas of each image that it predicts, detached."""
        cascade, weight, head = self.cascade, self.cascade.loss_weights[stage], self.cascade.box_heads[stage]
        pooled = regions.pool(paddle.stack([x.boxes for x in samples]), cascade.box_size, 2)
        cls, reg = (in_float32(x) for x in head(pooled))
        loss_cls, loss_reg, count = self._box_losses(head, cls, reg, samples)
        losses.add(f"loss_bbox_cls_stage{stage}", loss_cls * weight, count)
        losses.add(f"loss_bbox_reg_stage{stage}", loss_reg * weight, count)
        self.finite.append(all_finite([reg.detach()]))
        return reg.detach().chunk(len(samples))

    def _box_losses(
        self, head: BoxHead, cls: paddle.Tensor, reg: paddle.Tensor, samples: list[FixedSample]
    ) -> tuple[paddle.Tensor, paddle.Tensor, paddle.Tensor]:
        used = paddle.concat([x.valid for x in samples]).astype("float32")
        own = paddle.concat([x.positive for x in samples])
        labels = paddle.concat([self._labels(b, x, head.num_classes) for b, x in enumerate(samples)])
        count = used.sum()
        total = paddle.clip(count, min=1.0)
        loss_cls = (head.class_loss(cls, labels) * used).sum() / total
        # Rows that are none have no extent, which no delta can be told of.
        boxes = [paddle.where(x.positive.unsqueeze(1), x.boxes, paddle.to_tensor([[0.0, 0.0, 1.0, 1.0]])) for x in samples]
        goal = [_targets(b, o, x.object_index, x.positive) for b, o, x in zip(boxes, self.objects, samples, strict=True)]
        goal = encode(paddle.concat(boxes), paddle.concat(goal), head.stds.tolist())
        if not head.class_agnostic:
            label = paddle.clip(labels, max=head.num_classes - 1)
            rows = paddle.stack([paddle.arange(label.shape[0]), label], axis=1)
            reg = paddle.gather_nd(reg.reshape([-1, head.num_classes, 4]), rows)
        return loss_cls, _masked_smooth_l1(reg, goal, own, head.beta) / total, count

    def _labels(self, image: int, own: FixedSample, background: int) -> paddle.Tensor:
        """Class of each row; of rows that are no positive the background."""
        labels = self.truth[image].labels
        blank = paddle.full_like(own.object_index, background)
        if len(labels) == 0:
            return blank
        return paddle.where(own.positive, paddle.gather(paddle.to_tensor(labels), own.object_index), blank)

    def _refine(
        self, head: BoxHead, samples: list[FixedSample], deltas: list[paddle.Tensor]
    ) -> list[tuple[paddle.Tensor, paddle.Tensor]]:
        """The sampled boxes moved by this stage, without those that were ground truth, and which rows they are."""
        refined = []
        for own, part, t in zip(samples, deltas, self.truth, strict=True):
            image = paddle.to_tensor([[float(t.height), float(t.width)]])
            boxes = refine(head, own.boxes, part, image)
            stays = paddle.logical_and(own.valid, paddle.logical_not(own.is_object))
            # Together, as numpy has them: a row's random key is that of its place.
            rows = first_rows([stays], len(stays))
            refined.append((paddle.gather(boxes, rows), paddle.gather(stays, rows)))
        return refined

    def _read(self, samples: list[FixedSample], settled: paddle.Tensor) -> list[RoISample]:
        """The positives, on the host: here it waits for the device, and learns whether all is well so far."""
        flags = paddle.stack([paddle.stack(self.finite).all(), settled]).astype("float32")
        rows = [
            paddle.concat(
                [x.boxes, *(part.astype("float32").unsqueeze(1) for part in (x.object_index, x.positive, x.is_object))], 1
            )
            for x in samples
        ]
        values = paddle.concat([flags, paddle.stack(rows).flatten()]).numpy()
        _check(values[:2])
        out = []
        for image in values[2:].reshape(len(samples), -1, 7):
            own = image[image[:, 5] > 0]
            out.append(RoISample(own[:, :4].copy(), own[:, 4].astype(np.int64), own[:, 6] > 0))
        return out


def _check(flags: np.ndarray) -> None:
    if not flags[0]:
        raise DivergenceError("an output of the detector is not finite")
    if not flags[1]:
        raise UnsettledError
