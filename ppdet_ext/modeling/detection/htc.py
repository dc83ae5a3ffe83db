"""The Hybrid Task Cascade detector."""

import numpy as np
import paddle
from paddle import nn
from ppdet.core.workspace import create, register
from ppdet.modeling.architectures.meta_arch import BaseArch

from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.ops.layers import speed_up
from ppdet_ext.structures import Detections
from ppdet_ext.structures.candidates import Candidates

from .ground_truth import GroundTruth
from .htc_roi_head import HTCRoIHead
from .losses import Losses, withdraw
from .rpn import HTCRPNHead


@register
class HybridTaskCascade(BaseArch):
    """Hybrid Task Cascade (arXiv 1901.07518).

    In training a batch gives a dict of scalar losses, "loss" being their sum; in evaluation one `Detections` an image.

    Args:
        backbone: image -> feature maps; ppdet's, or one with its interface.
        neck: feature maps -> pyramid.
        rpn_head: pyramid -> proposals.
        roi_head: pyramid and proposals -> losses, detections.
        mask_threshold: probability from which a pixel belongs to the mask.
        seed: of the sampling of anchors and regions, which depends on (seed, epoch, image id) and nothing else.
    """

    __category__ = "architecture"
    __shared__ = ["seed"]

    def __init__(
        self,
        backbone: nn.Layer = "ResNet",
        neck: nn.Layer = "FPN",
        rpn_head: HTCRPNHead = "HTCRPNHead",
        roi_head: HTCRoIHead = "HTCRoIHead",
        mask_threshold: float = 0.5,
        seed: int = 0,
    ):
        super().__init__()
        self.backbone, self.neck, self.rpn_head, self.roi_head = backbone, speed_up(neck), rpn_head, roi_head
        self.mask_threshold = mask_threshold
        self.seed = seed

    @classmethod
    def from_config(cls, cfg: dict) -> dict:
        """ppdet's wiring: each part takes the shapes of the part before it."""
        backbone = create(cfg["backbone"])
        neck = create(cfg["neck"], input_shape=backbone.out_shape)
        return {
            "backbone": backbone,
            "neck": neck,
            "rpn_head": create(cfg["rpn_head"], input_shape=neck.out_shape),
            "roi_head": create(cfg["roi_head"], input_shape=neck.out_shape),
        }

    def get_loss(self) -> dict[str, paddle.Tensor]:
        """Losses of the batch `self.inputs`; all ranks must call this together.

        Their mean over ranks is the loss of the ranks' batches as one, if that one is padded to no other size.

        Raises:
            DivergenceError: an output is NaN or infinite, on this rank or on another.
        """
        try:
            losses = self._losses(self.inputs)
        except DivergenceError:
            withdraw()
            raise
        losses = dict(losses.over_ranks())
        losses["loss"] = paddle.add_n([x.reshape([]) for x in losses.values()])
        return losses

    def _losses(self, batch: dict) -> Losses:
        truth = GroundTruth.of_batch(batch)
        shapes = np.array([(t.height, t.width) for t in truth], np.float32)
        rngs = self.sampling_rngs(batch)
        feats = self.pyramid(batch)
        logits, deltas = self.rpn_head(feats)
        losses = self.rpn_head.losses(logits, deltas, [t.boxes for t in truth], shapes, rngs)
        proposals = self.rpn_head.proposals(logits, deltas, shapes)
        losses.update(self.roi_head.losses(feats, proposals, truth, batch.get("semantic"), rngs))
        return losses

    def pyramid(self, batch: dict) -> list[paddle.Tensor]:
        """Feature maps of the batch's images, finest first, per level (B, channels, H, W)."""
        return self.neck(self.backbone(batch))

    def sampling_rngs(self, batch: dict) -> list[np.random.Generator]:
        """One generator an image, so that a resumed run samples what the uninterrupted one would have."""
        epoch = int(batch.get("epoch", 0))
        return [np.random.default_rng([self.seed, epoch, int(i)]) for i in np.asarray(batch["im_id"]).reshape(-1)]

    def get_pred(self) -> list[Detections]:
        """Detections of the batch `self.inputs`, in the pixels of the original images.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        return [found.detections(self.mask_threshold) for found in self.candidates(self.inputs)]

    @paddle.no_grad()
    def candidates(self, batch: dict) -> list[Candidates]:
        """What is found in each image of a batch, in original pixels, with mask probabilities instead of masks.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        shapes = np.asarray(batch["im_shape"], np.float32)
        feats = self.pyramid(batch)
        proposals = self.rpn_head.proposals(*self.rpn_head(feats), shapes)
        found = self.roi_head.detect(feats, proposals, shapes)
        scales, sizes = np.asarray(batch["scale_factor"], np.float32), np.asarray(batch["origin_shape"])
        return [
            Candidates(int(h), int(w), boxes / scale[[1, 0, 1, 0]], scores, labels, probs)
            for (boxes, scores, labels, probs), scale, (h, w) in zip(found, scales, sizes)
        ]
