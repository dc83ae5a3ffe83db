"""The section HTCRoIHead: the cascade of HTC, Cascade Mask R-CNN or Mask R-CNN."""

from ppdet.core.workspace import create, register

from ppdet_ext.modeling.ops.loss_functions import Loss

from .assignment import IoUAssigner, RoISampler
from .box_head import BoxHead
from .cascade import RegionCascade
from .mask_head import HTCMaskHead
from .semantic_head import FusedSemanticHead

STAGE_BOX_STDS = ((0.1, 0.1, 0.2, 0.2), (0.05, 0.05, 0.1, 0.1), (0.033, 0.033, 0.067, 0.067))


@register
class HTCRoIHead(RegionCascade):
    """Hybrid task cascade (arXiv 1901.07518), its heads built as a configuration says.

    Without `interleaved` and `mask_info_flow`, and without the semantic branch, it is Cascade Mask R-CNN (arXiv 1906.09756);
    with one stage of class-specific boxes, Mask R-CNN (arXiv 1703.06870). ppdet takes a section's keys from this constructor.

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
        class_loss: of logits (n, num_classes + 1) and labels (n,), gives (n,); the cross-entropy by default.
        mask_loss: of logits and targets (n, S, S), gives their mean; the binary cross-entropy by default.
    """

    __shared__ = ["num_classes"]
    __inject__ = ["class_loss", "mask_loss"]

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
        stage_box_stds: tuple[tuple[float, ...], ...] = STAGE_BOX_STDS,
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
        class_loss: Loss | None = None,
        mask_loss: Loss | None = None,
    ):
        _check_stages(stage_ious, stage_box_stds, stage_loss_weights, class_agnostic, interleaved)
        _check_semantic(semantic_head, channels)
        box = (channels, num_classes, fc_channels, num_fcs, box_size, class_agnostic)
        boxes = [BoxHead(*box, stds, smooth_l1_beta, class_loss) for stds in stage_box_stds]
        flows = [mask_info_flow and s > 0 for s in range(len(stage_ious) if with_mask else 0)]
        masks = [HTCMaskHead(channels, num_classes, num_mask_convs, flow, mask_channels) for flow in flows]
        assigners = [IoUAssigner(iou, iou, iou, low_quality_match) for iou in stage_ious]
        samplers = [RoISampler(assigner, num_samples, positive_fraction) for assigner in assigners]
        sizes, ideas = (box_size, mask_size), (interleaved, mask_info_flow)
        super().__init__(
            boxes, masks, semantic_head, samplers, stage_loss_weights, strides, sizes, *ideas, mask_ensemble, mask_loss
        )
        self.num_classes = num_classes
        self.score_threshold, self.nms_iou, self.max_detections = score_threshold, nms_iou, max_detections

    @classmethod
    def from_config(cls, cfg: dict, input_shape: list) -> dict:
        """ppdet's wiring: widths and strides follow the pyramid, whose last level only proposes."""
        semantic = cfg["semantic_head"]
        return {
            "channels": input_shape[0].channels,
            "strides": tuple(int(i.stride) for i in input_shape[:4]),
            "semantic_head": create(semantic, input_shape=input_shape) if semantic else None,
        }


def _check_stages(ious: tuple, stds: tuple, weights: tuple, class_agnostic: bool, interleaved: bool) -> None:
    if not len(ious) == len(stds) == len(weights):
        raise ValueError("stage_ious, stage_box_stds and stage_loss_weights must have one entry a stage")
    if not class_agnostic and (len(ious) > 1 or interleaved):
        raise ValueError("boxes of each class (class_agnostic: false) need a single stage, and interleaved: false")


def _check_semantic(head: FusedSemanticHead | None, channels: int) -> None:
    if head is not None and head.channels != channels:
        raise ValueError(f"the semantic feature has {head.channels} channels, the pyramid {channels}; they are added")
