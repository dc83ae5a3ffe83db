"""The cascade of HTC: box and mask heads interleaved over the stages, with the semantic feature in both."""

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn
from ppdet.core.workspace import create, register

from ppdet_ext.modeling.ops.boxes import select_objects
from ppdet_ext.modeling.ops.loss_functions import zero_loss
from ppdet_ext.modeling.ops.roi_align import Pyramid
from ppdet_ext.structures import TestSettings

from .assignment import IoUAssigner, RoISample, RoISampler
from .box_head import BoxHead
from .features import Features
from .ground_truth import GroundTruth
from .losses import Losses
from .mask_head import HTCMaskHead
from .mask_targets import mask_targets
from .regions import finite, split, stack
from .semantic_head import FusedSemanticHead


@register
class HTCRoIHead(nn.Layer):
    """Hybrid task cascade (arXiv 1901.07518).

    At each stage the box head refines the boxes, and the mask head sees the refined ones ("interleaved") together with the
    features of the mask heads before it ("mask information flow"). Without either, and without the semantic branch, it is
    Cascade Mask R-CNN (arXiv 1906.09756); with one stage of class-specific boxes, Mask R-CNN (arXiv 1703.06870).

    Args:
        channels: channels of the pyramid.
        strides: px of one cell of the levels that regions are pooled from.
        num_classes: classes without background.
        semantic_head: the semantic branch, or None.
        with_mask: whether there are mask heads.
        fc_channels, num_fcs: of the box heads. mask_channels, num_mask_convs: of the mask heads.
        box_size, mask_size: cells along each side of a pooled region; masks have twice as many.
        class_agnostic: one box for all classes, or one of each class, which only a single stage can have.
        smooth_l1_beta: of the box loss; 0 is the L1 loss.
        stage_ious, stage_box_stds, stage_loss_weights: one entry a stage; their length is the number of stages.
        num_samples, positive_fraction: regions of an image that a stage learns from.
        low_quality_match: give each object at least its best proposal, however small their overlap.
        interleaved, mask_info_flow: switch off either idea of the paper, for ablations.
        score_threshold, nms_iou, max_detections, mask_ensemble: of inference. `mask_ensemble` is "mean" of the stages'
            probabilities (the paper; mmdetection 2) or "last" (mmdetection 3).
    """

    __shared__ = ["num_classes"]

    def __init__(
        self,
        channels: int = 256,
        strides: tuple[int, ...] = (4, 8, 16, 32),
        num_classes: int = 80,
        semantic_head: FusedSemanticHead | None = None,
        with_mask: bool = True,
        fc_channels: int = 1024,
        num_fcs: int = 2,
        mask_channels: int | None = None,
        num_mask_convs: int = 4,
        box_size: int = 7,
        mask_size: int = 14,
        class_agnostic: bool = True,
        smooth_l1_beta: float = 1.0,
        stage_ious: tuple[float, ...] = (0.5, 0.6, 0.7),
        stage_box_stds: tuple[tuple[float, ...], ...] = (
            (0.1, 0.1, 0.2, 0.2),
            (0.05, 0.05, 0.1, 0.1),
            (0.033, 0.033, 0.067, 0.067),
        ),
        stage_loss_weights: tuple[float, ...] = (1.0, 0.5, 0.25),
        num_samples: int = 512,
        positive_fraction: float = 0.25,
        low_quality_match: bool = True,
        interleaved: bool = True,
        mask_info_flow: bool = True,
        score_threshold: float = 0.001,
        nms_iou: float = 0.5,
        max_detections: int = 100,
        mask_ensemble: str = "mean",
    ):
        super().__init__()
        _check(stage_ious, stage_box_stds, stage_loss_weights, mask_ensemble, semantic_head, channels)
        if not class_agnostic and (len(stage_ious) > 1 or interleaved):
            raise ValueError("boxes of each class (class_agnostic: false) need a single stage, and interleaved: false")
        self.strides, self.num_classes, self.with_mask = list(strides), num_classes, with_mask
        self.box_size, self.mask_size = box_size, mask_size
        self.weights = list(stage_loss_weights)
        self.interleaved, self.mask_info_flow, self.mask_ensemble = interleaved, mask_info_flow, mask_ensemble
        self.score_threshold, self.nms_iou, self.max_detections = score_threshold, nms_iou, max_detections
        self.samplers = [
            RoISampler(IoUAssigner(iou, iou, iou, low_quality_match), num_samples, positive_fraction) for iou in stage_ious
        ]
        self.semantic_head = semantic_head
        box = (channels, num_classes, fc_channels, num_fcs, box_size, class_agnostic)
        self.box_heads = nn.LayerList([BoxHead(*box, stds, smooth_l1_beta) for stds in stage_box_stds])
        if with_mask:
            takes = [mask_info_flow and s > 0 for s in range(len(stage_ious))]
            self.mask_heads = nn.LayerList(
                [HTCMaskHead(channels, num_classes, num_mask_convs, take, mask_channels) for take in takes]
            )

    @classmethod
    def from_config(cls, cfg: dict, input_shape: list) -> dict:
        """ppdet's wiring: widths and strides follow the pyramid, whose last level only proposes."""
        semantic = cfg["semantic_head"]
        return {
            "channels": input_shape[0].channels,
            "strides": tuple(int(i.stride) for i in input_shape[:4]),
            "semantic_head": create(semantic, input_shape=input_shape) if semantic else None,
        }

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
        rngs: list[np.random.Generator | None] | None = None,
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
        losses = Losses()
        if logits is not None:
            # Where there is no region at all, nothing pools the semantic feature.
            loss = self.semantic_head.loss(logits, semantic_target) + zero_loss(self.semantic_head.embedding)
            losses.add("loss_semantic", loss, logits.shape[0] * logits.shape[2] * logits.shape[3])
        elif self.semantic_head is not None:
            losses.add("loss_semantic", zero_loss(self.semantic_head.logits, self.semantic_head.embedding), 0)
        for s, head in enumerate(self.box_heads):
            samples = self._sample(s, proposals, truth, rngs)
            cls, reg = head(features.pool(stack([x.boxes for x in samples]), self.box_size, 2))
            loss_cls, loss_reg = head.losses(cls, reg, samples, truth)
            count = sum(len(x.boxes) for x in samples)
            losses.add(f"loss_bbox_cls_stage{s}", loss_cls * self.weights[s], count)
            losses.add(f"loss_bbox_reg_stage{s}", loss_reg * self.weights[s], count)
            deltas = finite(reg.detach().numpy(), f"box deltas of stage {s}")
            if self.interleaved or s + 1 < len(self.box_heads):
                proposals = self._refine(s, samples, deltas, truth)
            if self.with_mask:
                if self.interleaved:
                    samples = self._sample(s, proposals, truth, rngs)
                loss = self._mask_loss(s, features, samples, truth)
                losses.add(f"loss_mask_stage{s}", loss, sum(x.num_positive for x in samples))
        return losses

    def _sample(self, stage: int, proposals: list, truth: list[GroundTruth], rngs: list) -> list[RoISample]:
        return [self.samplers[stage](p, t.boxes, rng) for p, t, rng in zip(proposals, truth, rngs)]

    def _refine(self, stage: int, samples: list[RoISample], deltas: np.ndarray, truth: list[GroundTruth]) -> list[np.ndarray]:
        """The sampled boxes moved by this stage, without those that were ground truth."""
        refined = []
        for sample, t, part in zip(samples, truth, split(deltas, [len(x.boxes) for x in samples])):
            proposal = np.ones(len(sample.boxes), bool)
            proposal[: sample.num_positive] = ~sample.is_object
            refined.append(self.box_heads[stage].decode(sample.boxes, part, t.height, t.width)[proposal])
        return refined

    def _mask_loss(self, stage: int, features: Features, samples: list[RoISample], truth: list[GroundTruth]) -> paddle.Tensor:
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
        loss = F.binary_cross_entropy_with_logits(logits, paddle.to_tensor(np.concatenate(targets)))
        return loss * self.weights[stage]

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
        counts, total = [len(p) for p in proposals], 0.0
        for s, head in enumerate(self.box_heads):
            cls, reg = head(features.pool(stack(proposals), self.box_size, 2))
            total = total + finite(cls.numpy(), f"class logits of stage {s}")
            deltas = split(finite(reg.numpy(), f"box deltas of stage {s}"), counts)
            proposals = [head.decode(p, d, *shape) for p, d, shape in zip(proposals, deltas, im_shape)]
        mean = paddle.to_tensor(total / np.float32(len(self.box_heads)))
        return proposals, split(F.softmax(mean, axis=1).numpy()[:, :-1], counts)

    def mask_probabilities(self, features: Features, rois: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Probability of each roi's own class, (n, 2s, 2s) float32: the mean of the stages, or the last one's."""
        if len(rois) == 0:
            return np.zeros((0, 2 * self.mask_size, 2 * self.mask_size), np.float32)
        regions, previous, probs = features.pool(rois, self.mask_size, 1), None, []
        for head in self.mask_heads:
            state = head.features(regions, previous)
            previous = state if self.mask_info_flow else None
            probs.append(F.sigmoid(head.predict_own(state, labels)).numpy())
        return finite(probs[-1] if self.mask_ensemble == "last" else np.mean(probs, axis=0), "mask probabilities")


def _check(
    ious: tuple, stds: tuple, weights: tuple, mask_ensemble: str, semantic_head: FusedSemanticHead | None, channels: int
) -> None:
    if not len(ious) == len(stds) == len(weights):
        raise ValueError("stage_ious, stage_box_stds and stage_loss_weights must have one entry a stage")
    if mask_ensemble not in ("mean", "last"):
        raise ValueError(f"mask_ensemble is '{mask_ensemble}'; it must be 'mean' or 'last'")
    if semantic_head is not None and semantic_head.channels != channels:
        raise ValueError(f"the semantic feature has {semantic_head.channels} channels, the pyramid {channels}; they are added")
