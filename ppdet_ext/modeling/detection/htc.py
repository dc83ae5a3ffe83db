"""The Hybrid Task Cascade detector."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn
from ppdet.core.workspace import create, register
from ppdet.modeling.architectures.meta_arch import BaseArch

from ppdet_ext.errors import DivergenceError
from ppdet_ext.host.dataset import host_outputs, our_batch
from ppdet_ext.modeling.ops.layers import speed_up
from ppdet_ext.modeling.ops.seam import takes_ours
from ppdet_ext.structures import Candidates, Detections, ProposalSettings, TestSettings

from . import device_training, on_device, traced
from .device_training import UnsettledError
from .features import ImageFeatures
from .ground_truth import GroundTruth
from .htc_roi_head import HTCRoIHead
from .losses import Losses, withdraw
from .regions import split, stack
from .rpn import HTCRPNHead
from .traced_views import AS_IT_IS, Flip, TracedView


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
        rpn_head: HTCRPNHead = "HTCRPNHead",  # type: ignore[assignment]  # ppdet's defaults are names
        roi_head: HTCRoIHead = "HTCRoIHead",  # type: ignore[assignment]
        mask_threshold: float = 0.5,
        seed: int = 0,
    ):
        super().__init__()
        self.backbone, self.neck, self.rpn_head, self.roi_head = backbone, speed_up(neck), rpn_head, roi_head
        self.mask_threshold = mask_threshold
        self.seed = seed

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any]) -> dict:
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
            losses = self._losses(our_batch(self.inputs))
        except DivergenceError:
            withdraw()
            raise
        out: dict[str, paddle.Tensor] = dict(losses.over_ranks())
        out["loss"] = paddle.add_n([x.reshape([]) for x in out.values()])
        return out

    def _losses(self, batch: Mapping[str, Any]) -> Losses:
        truth = GroundTruth.of_batch(batch)
        shapes = np.array([(t.height, t.width) for t in truth], np.float32)
        feats = self.feature_maps(batch)
        logits, deltas = self.rpn_head(feats)
        if not takes_ours(feats[0]):
            try:
                return self._losses_on_device(batch, truth, feats, logits, deltas)
            except UnsettledError:
                pass  # in numpy, then, with fresh generators
        rngs = self.sampling_rngs(batch)
        losses = self.rpn_head.losses(logits, deltas, [t.boxes for t in truth], shapes, rngs)
        proposals = self.rpn_head.proposals(logits, deltas, shapes)
        losses.update(self.roi_head.losses(feats, proposals, truth, batch.get("semantic"), rngs))
        return losses

    def _losses_on_device(
        self, batch: Mapping[str, Any], truth: list[GroundTruth], feats: list, logits: list, deltas: list
    ) -> Losses:
        rngs = self.sampling_rngs(batch)
        losses = device_training.rpn_losses(self.rpn_head, logits, deltas, truth, rngs)
        settings = self.rpn_head.settings(self.training)
        found = device_training.propose_for_training(self.rpn_head, logits, deltas, truth, settings)
        cascade = device_training.DeviceCascade(self.roi_head, truth, rngs)
        losses.update(cascade.losses(feats, found, batch.get("semantic")))
        return losses

    def feature_maps(self, batch: Mapping[str, Any]) -> list[paddle.Tensor]:
        """Feature maps of the batch's images, finest first, per level (B, channels, H, W)."""
        return self.neck(self.backbone(batch))

    def sampling_rngs(self, batch: Mapping[str, Any]) -> list[np.random.Generator]:
        """One generator an image, so that a resumed run samples what the uninterrupted one would have."""
        epoch = int(batch.get("epoch", 0))
        return [np.random.default_rng([self.seed, epoch, int(i)]) for i in np.asarray(batch["im_id"]).reshape(-1)]

    # inference: the protocols of `ppdet_ext.inference.protocol`

    @classmethod
    def settings_from(cls, cfg: Mapping[str, Any]) -> TestSettings:
        """Read the settings of a configuration, whose model need not be built."""
        roi, rpn = cfg["HTCRoIHead"], cfg["HTCRPNHead"]
        return TestSettings(
            roi["score_threshold"],
            roi["nms_iou"],
            roi["max_detections"],
            cfg[cls.__name__]["mask_threshold"],
            ProposalSettings(rpn["nms_iou"], rpn["test_pre_nms"], rpn["test_proposals"]),
        )

    @staticmethod
    def settings_sections(**thresholds: float) -> dict[str, dict[str, float]]:
        """Say in a configuration's sections what score_threshold, nms_iou and max_detections are."""
        return {"HTCRoIHead": thresholds}

    @staticmethod
    def has_masks(cfg: Mapping[str, Any]) -> bool:
        """Whether the model of a configuration gives masks."""
        return bool(cfg["HTCRoIHead"]["with_mask"])

    @property
    def settings(self) -> TestSettings:
        """What the model is configured with."""
        roi, proposals = self.roi_head, self.rpn_head.settings(training=False)
        return TestSettings(roi.score_threshold, roi.nms_iou, roi.max_detections, self.mask_threshold, proposals)

    @property
    def num_classes(self) -> int:
        """Classes without background."""
        return self.roi_head.num_classes

    @property
    def mask_cells(self) -> int | None:
        """Cells along each side of a mask's probabilities; None without masks."""
        return 2 * self.roi_head.mask_size if self.roi_head.with_mask else None

    @property
    def class_agnostic(self) -> bool:
        """Whether a region has one box for all classes."""
        return self.roi_head.box_heads[-1].class_agnostic

    def get_pred(self) -> list[Detections] | dict[str, np.ndarray]:
        """Find the objects of the batch `self.inputs` with the model's own settings, in the pixels of the original images.

        A batch of ppdet's readers gets what ppdet's metrics take (see `host_outputs`).

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        settings, batch = self.settings, our_batch(self.inputs)
        found = [one.detections(settings.mask_threshold) for one in self.candidates(batch, settings)]
        return found if batch is self.inputs else host_outputs(found)

    @paddle.no_grad()
    def candidates(self, batch: dict, settings: TestSettings) -> list[Candidates]:
        """Find the objects of each image of a batch, in original pixels, with mask probabilities instead of masks.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        features = self.pyramid(batch)
        found = None if takes_ours(features.maps[0]) else self._found_on_device(features, settings)
        if found is None:
            logits, deltas = self.rpn_head(features.maps)
            proposals = self.rpn_head.proposals(logits, deltas, features.im_shape, settings.proposals)
            found = self.roi_head.detect(features.regions, proposals, features.im_shape, settings)
        scales, sizes = np.asarray(batch["scale_factor"], np.float32), np.asarray(batch["origin_shape"])
        return [
            Candidates(int(h), int(w), boxes / scale[[1, 0, 1, 0]], scores, labels, probs)
            for (boxes, scores, labels, probs), scale, (h, w) in zip(found, scales, sizes)
        ]

    def _found_on_device(self, features: ImageFeatures, settings: TestSettings) -> list[tuple] | None:
        shapes = paddle.to_tensor(features.im_shape)
        logits, deltas = self.rpn_head(features.maps)
        found = on_device.propose(self.rpn_head, logits, deltas, shapes, settings.proposals)
        return on_device.detect(self.roi_head, features.regions, found, shapes, settings)

    @paddle.jit.not_to_static
    def traced(self, images: paddle.Tensor, im_shape: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """The graph that is exported: what `candidates` finds with the model's own settings, before it is scaled back.

        Args:
            images: (B, 3, H, W) float32, normalised and padded to multiples of the pyramid's largest stride; B is a number.
            im_shape: (B, 2) float32, h and w px of the images without padding.

        Returns:
            boxes (N, 4) float32 px of the network's input, scores (N,), labels (N,) int64, image (N,) int64, the index in the
            batch; with mask heads probs (N, 2s, 2s). Image after image, best first.
        """
        return self.traced_views([images], im_shape, [AS_IT_IS])

    @paddle.jit.not_to_static
    def traced_views(
        self, images: Sequence[paddle.Tensor], im_shape: paddle.Tensor, flips: Sequence[Flip]
    ) -> dict[str, paddle.Tensor]:
        """`traced` of several views of the images: what `inference.ensemble.Ensemble` finds with their mirrorings.

        Args:
            images: of each view (B, 3, H, W), mirrored before they were padded; see `traced`.
            im_shape: see `traced`.
            flips: of each view, whether it is mirrored left and right, top and bottom.

        Returns:
            As `traced`, in the pixels of the images that are not mirrored.
        """
        settings, count = self.settings, images[0].shape[0]
        maps = [traced.pyramid_of(self.neck, self.backbone({"image": view})) for view in images]
        found = []
        for b in range(count):
            of_b = slice(b, b + 1)
            own = [[m[of_b] for m in levels] for levels in maps] if count > 1 else maps
            size = im_shape[of_b] if count > 1 else im_shape
            views = [TracedView(levels, size, flip) for levels, flip in zip(own, flips, strict=True)]
            boxes = traced.proposals(self.rpn_head, views, settings.proposals)
            found.append(traced.detect(self.roi_head, views, boxes, settings))
        return traced.joined(found)

    def pyramid(self, batch: Mapping[str, Any]) -> ImageFeatures:
        """Compute the features of a batch's images."""
        shapes = np.asarray(batch["im_shape"], np.float32)
        return ImageFeatures(self.feature_maps(batch), shapes, lambda maps: self.roi_head.features(maps)[0])

    def proposals(self, features: ImageFeatures, settings: TestSettings) -> list[tuple[np.ndarray, np.ndarray]]:
        """Boxes (n, 4) in network px and objectness (n,) of each image, best first."""
        logits, deltas = self.rpn_head(features.maps)
        return self.rpn_head.scored_proposals(logits, deltas, features.im_shape, settings.proposals)

    def cascade(self, features: ImageFeatures, proposals: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Final boxes (n, 4), or (n, classes, 4), and class scores (n, classes) of each image's regions."""
        return self.roi_head.cascade(features.regions, proposals, features.im_shape)

    def masks(self, features: ImageFeatures, boxes: list[np.ndarray], labels: list[np.ndarray]) -> list[np.ndarray]:
        """Mask probabilities (n, mask_cells, mask_cells) of each image's boxes (n, 4) of classes (n,)."""
        probs = self.roi_head.mask_probabilities(features.regions, stack(boxes), np.concatenate(labels))
        return split(probs, [len(own) for own in boxes])
