"""The cascade of regions: box and mask heads interleaved over the stages, with the semantic feature in both."""

import logging
from collections.abc import Sequence

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.distributed import world
from ppdet_ext.modeling.ops.boxes import select_objects
from ppdet_ext.modeling.ops.loss_functions import Loss, zero_loss
from ppdet_ext.modeling.ops.roi_align import Pyramid
from ppdet_ext.modeling.ops.seam import in_float32
from ppdet_ext.structures import TestSettings

from .assignment import RoISample, RoISampler
from .box_head import BoxHead
from .features import Features
from .ground_truth import GroundTruth
from .losses import Losses
from .mask_head import HTCMaskHead
from .mask_targets import mask_targets
from .regions import finite, split, stack
from .semantic_head import FusedSemanticHead

logger = logging.getLogger("ppdet_ext")


class RegionCascade(nn.Layer):
    """Stages of a box head and a mask head each, made of built heads.

    At each stage the box head refines the boxes. The mask head sees the refined ones where `interleaved`, together with the
    features of the mask heads before it where `mask_info_flow` (HTC, arXiv 1901.07518).

    Args:
        box_heads: one a stage.
        mask_heads: one a stage, or none at all.
        semantic_head: the semantic branch, or None.
        samplers: of the regions that a stage learns from.
        loss_weights: of the stages.
        strides: px of one cell of the levels that regions are pooled from.
        sizes: cells along each side of a pooled region, for boxes and for masks, which have twice as many.
        interleaved, mask_info_flow: HTC's ideas.
        mask_ensemble: "mean" of the stages' probabilities or "last".
        mask_loss: of logits and targets (n, S, S), gives their mean; the binary cross-entropy by default.
    """

    def __init__(
        self,
        box_heads: Sequence[BoxHead],
        mask_heads: Sequence[HTCMaskHead],
        semantic_head: FusedSemanticHead | None,
        samplers: Sequence[RoISampler],
        loss_weights: Sequence[float],
        strides: Sequence[int],
        sizes: tuple[int, int] = (7, 14),
        interleaved: bool = True,
        mask_info_flow: bool = True,
        mask_ensemble: str = "mean",
        mask_loss: Loss | None = None,
    ):
        super().__init__()
        if mask_ensemble not in ("mean", "last"):
            raise ValueError(f"mask_ensemble is '{mask_ensemble}'; it must be 'mean' or 'last'")
        self.semantic_head, self.box_heads = semantic_head, nn.LayerList(box_heads)
        self.with_mask = bool(mask_heads)
        if self.with_mask:
            self.mask_heads = nn.LayerList(mask_heads)
        self.samplers, self.loss_weights, self.strides = list(samplers), list(loss_weights), list(strides)
        self.box_size, self.mask_size, self.mask_loss = *sizes, mask_loss
        self.interleaved, self.mask_info_flow, self.mask_ensemble = interleaved, mask_info_flow, mask_ensemble
        self._told_of_no_target = world()[0] > 0

    def features(self, feats: list[paddle.Tensor], with_logits: bool = False) -> tuple[Features, paddle.Tensor | None]:
        """What to pool from, and the semantic logits where they are asked for."""
        pyramid = Pyramid(feats[: len(self.strides)], self.strides)
        if self.semantic_head is None:
            return Features(pyramid, None), None
        logits, feature = self.semantic_head(feats, with_logits)
        return Features(pyramid, Pyramid([feature], [self.semantic_head.stride])), logits

    # training

    def losses(
        self,
        feats: list[paddle.Tensor],
        proposals: list[np.ndarray],
        truth: list[GroundTruth],
        semantic_target: paddle.Tensor | None = None,
        rngs: Sequence[np.random.Generator | None] | None = None,
    ) -> Losses:
        """All weighted losses of all stages.

        Args:
            feats: pyramid, per level (B, channels, H, W).
            proposals: per image (n, 4) float32 px.
            truth: per image.
            semantic_target: (B, H, W) integers, 255 = ignore; needed where the semantic branch is on.
            rngs: per image, for sampling; None takes the first by index.

        Raises:
            DivergenceError: a head's output is NaN or infinite.
        """
        rngs = rngs or [None] * len(truth)
        features, logits = self.features(feats, with_logits=semantic_target is not None)
        losses = self.semantic_losses(logits, semantic_target)
        for s in range(len(self.box_heads)):
            samples = self._sample(s, proposals, truth, rngs)
            deltas = self._add_box_losses(losses, s, features, samples, truth)
            if self.interleaved or s + 1 < len(self.box_heads):
                proposals = self._refine(s, samples, deltas, truth)
            if self.with_mask:
                if self.interleaved:
                    samples = self._sample(s, proposals, truth, rngs)
                loss = self.mask_loss_of(s, features, samples, truth)
                losses.add(f"loss_mask_stage{s}", loss, sum(x.num_positive for x in samples))
        return losses

    def semantic_losses(self, logits: paddle.Tensor | None, target: paddle.Tensor | None) -> Losses:
        """The loss of the semantic branch, if there is one."""
        losses, head = Losses(), self.semantic_head
        if head is None:
            return losses
        if logits is not None:
            # Where there is no region at all, nothing pools the semantic feature.
            loss = head.loss(logits, target) + zero_loss(head.embedding)
            losses.add("loss_semantic", loss, logits.shape[0] * logits.shape[2] * logits.shape[3])
        else:
            losses.add("loss_semantic", zero_loss(head.logits, head.embedding), 0)
            if not self._told_of_no_target:
                self._told_of_no_target = True
                logger.warning(
                    "The semantic branch has nothing to learn from: loss_semantic is 0. Put SemanticFromMasks or "
                    "SemanticFromMap before NormalizeToCHW in TrainReader, or switch it off: -o HTCRoIHead.semantic_head=null"
                )
        return losses

    def _add_box_losses(
        self, losses: Losses, stage: int, features: Features, samples: list[RoISample], truth: list[GroundTruth]
    ) -> np.ndarray:
        """Put in the losses of a stage's box head; the deltas (n, …) that it predicts."""
        head, weight, count = self.box_heads[stage], self.loss_weights[stage], sum(len(x.boxes) for x in samples)
        cls, reg = head(features.pool(stack([x.boxes for x in samples]), self.box_size, 2))
        loss_cls, loss_reg = head.losses(cls, reg, samples, truth)
        losses.add(f"loss_bbox_cls_stage{stage}", loss_cls * weight, count)
        losses.add(f"loss_bbox_reg_stage{stage}", loss_reg * weight, count)
        return finite(reg.detach().numpy(), f"box deltas of stage {stage}")

    def _sample(self, stage: int, proposals: list, truth: list[GroundTruth], rngs: Sequence) -> list[RoISample]:
        return [self.samplers[stage](p, t.boxes, rng) for p, t, rng in zip(proposals, truth, rngs)]

    def _refine(self, stage: int, samples: list[RoISample], deltas: np.ndarray, truth: list[GroundTruth]) -> list[np.ndarray]:
        """The sampled boxes moved by this stage, without those that were ground truth."""
        refined = []
        for sample, t, part in zip(samples, truth, split(deltas, [len(x.boxes) for x in samples])):
            proposal = np.ones(len(sample.boxes), bool)
            proposal[: sample.num_positive] = ~sample.is_object
            refined.append(self.box_heads[stage].decode(sample.boxes, part, t.height, t.width)[proposal])
        return refined

    def mask_loss_of(self, stage: int, features: Features, samples: list[RoISample], truth: list[GroundTruth]) -> paddle.Tensor:
        """Weighted loss of a stage's mask head over the samples' positives."""
        positive = [x.boxes[: x.num_positive] for x in samples]
        labels = np.concatenate([t.labels[x.object_index] for x, t in zip(samples, truth)])
        if len(labels) == 0:
            return zero_loss(*self.mask_heads[: stage + 1])
        targets = [
            mask_targets(boxes, x.object_index, t.bitmap, 2 * self.mask_size) for boxes, x, t in zip(positive, samples, truth)
        ]
        regions = features.pool(stack(positive), self.mask_size, 1)
        head = self.mask_heads[stage]
        logits = head.predict_own(head.features(regions, self._mask_chain(stage, regions)), labels)
        measure = self.mask_loss or F.binary_cross_entropy_with_logits
        loss = measure(in_float32(logits), paddle.to_tensor(np.concatenate(targets)))
        return loss * self.loss_weights[stage]

    def _mask_chain(self, stage: int, regions: paddle.Tensor) -> paddle.Tensor | None:
        """Features of the head before `stage`, through all heads before it; not detached (HTC §3.2)."""
        previous = None
        if self.mask_info_flow:
            for head in self.mask_heads[:stage]:
                previous = head.features(regions, previous)
        return previous

    # inference

    def detect(
        self, features: Features, proposals: list[np.ndarray], im_shape: np.ndarray, settings: TestSettings
    ) -> list[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None]]:
        """Per image: boxes (n, 4) in network px, scores (n,), labels (n,), mask probabilities (n, 2s, 2s) or None."""
        boxes, scores = self.cascade(features, proposals, im_shape)
        found = [select_objects(b, s, settings) for b, s in zip(boxes, scores)]
        if not self.with_mask:
            return [(*f, None) for f in found]
        probs = self.mask_probabilities(features, stack([f[0] for f in found]), np.concatenate([f[2] for f in found]))
        return [(*f, p) for f, p in zip(found, split(probs, [len(f[0]) for f in found]))]

    def cascade(
        self, features: Features, proposals: list[np.ndarray], im_shape: np.ndarray
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Final boxes (n, 4), or (n, classes, 4), and class scores (n, classes) of each image: logits are stages' means."""
        counts, logits = [len(p) for p in proposals], []
        for s, head in enumerate(self.box_heads):
            cls, reg = head(features.pool(stack(proposals), self.box_size, 2))
            logits.append(finite(cls.numpy(), f"class logits of stage {s}"))
            deltas = split(finite(reg.numpy(), f"box deltas of stage {s}"), counts)
            proposals = [head.decode(p, d, *shape) for p, d, shape in zip(proposals, deltas, im_shape)]
        mean = paddle.to_tensor(sum(logits[1:], logits[0]) / np.float32(len(logits)))
        return proposals, split(F.softmax(mean, axis=1).numpy()[:, :-1], counts)

    def mask_probabilities(self, features: Features, rois: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Probability of each roi's own class, (n, 2s, 2s) float32: the mean of the stages, or the last one's."""
        if len(rois) == 0:
            return np.zeros((0, 2 * self.mask_size, 2 * self.mask_size), np.float32)
        probs = self.stage_probabilities(features.pool(rois, self.mask_size, 1), labels)
        every = [own.numpy() for own in probs]
        return finite(every[-1] if self.mask_ensemble == "last" else np.mean(every, axis=0), "mask probabilities")

    def stage_probabilities(self, regions: paddle.Tensor, labels: np.ndarray | paddle.Tensor) -> list[paddle.Tensor]:
        """Probabilities (n, 2s, 2s) by each stage of pooled regions (n, C, s, s), of their own classes (n,)."""
        previous, probs = None, []
        for head in self.mask_heads:
            state = head.features(regions, previous)
            previous = state if self.mask_info_flow else None
            probs.append(F.sigmoid(head.predict_own(state, labels)))
        return probs

    def probabilities(self, regions: paddle.Tensor, labels: paddle.Tensor) -> paddle.Tensor:
        """The mean of `stage_probabilities`, or the last one's, as a tensor."""
        probs = self.stage_probabilities(regions, labels)
        return probs[-1] if self.mask_ensemble == "last" else paddle.add_n(probs) / float(len(probs))
