"""Classification of whole images: which classes are there."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import number_in, register_module
from ppdet_ext.modeling.backbones.encoder import Encoder
from ppdet_ext.modeling.detection.losses import Losses
from ppdet_ext.structures import Candidates, Detections, TestSettings

from .heads import ClassificationHead
from .targets import presence_of_labels
from .wiring import ThresholdSection, create_with, finite, section_of, settings_of


@register_module
class ImageClassifier(ThresholdSection, nn.Layer):
    """Probabilities that classes are in an image, each by itself (multilabel): an encoder and a linear layer.

    In training a batch gives a dict of scalar losses, "loss" being their sum; in evaluation one `Detections` an image, without
    masks: an object as large as the image for each class above the threshold.

    Args:
        encoder: image -> features, of which the last are taken. The 31st place's: ResNetEncoder of {name: resnet34,
            attention: cbam}.
        num_classes: without background.
        pooling: of the features over the image: "avg" or "max".
        dropout: share of the pooled features left out in training.
        score_threshold: a class counts as found where its probability is greater; `candidates` gives all classes.
        pos_weight: factor of the loss of classes that are there; above 1 where misses are worse than false alarms.
        smoothing: label smoothing s: targets become s and 1 − s.

    Raises:
        ValueError: another pooling, or a dropout or smoothing that is no share.
        UserError: a threshold that is no probability.
    """

    __category__ = "architecture"
    __shared__ = ["num_classes"]

    def __init__(
        self,
        encoder: nn.Layer = "ResNetEncoder",
        num_classes: int = 4,
        pooling: Literal["avg", "max"] = "avg",
        dropout: float = 0.0,
        score_threshold: float = 0.5,
        pos_weight: float = 1.0,
        smoothing: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= smoothing < 0.5:
            raise ValueError(f"ImageClassifier.smoothing is {smoothing}; it is 0 or more, less than 0.5")
        if not pos_weight > 0:
            raise ValueError(f"ImageClassifier.pos_weight is {pos_weight}; it is above 0")
        self.num_classes = num_classes
        self.score_threshold = number_in(score_threshold, "ImageClassifier.score_threshold", 0, 1)
        self.pos_weight, self.smoothing = pos_weight, smoothing
        self.encoder = encoder
        self.classification_head = ClassificationHead(encoder.out_shape[-1].channels, num_classes, pooling, dropout)

    @classmethod
    def from_config(cls, cfg: Mapping[str, Any]) -> dict[str, Any]:
        """ppdet's wiring: of the encoder's features only the last are needed."""
        encoder, section = section_of(cfg["encoder"], Encoder, f"{cls.__name__}.encoder")
        return {"encoder": create_with(encoder, {"return_idx": [section["depth"] - 1]})}

    def logits(self, images: paddle.Tensor) -> paddle.Tensor:
        """Images (B, channels, H, W) float32 -> logits (B, num_classes)."""
        return self.classification_head(self.encoder({"image": images})[-1])

    @paddle.jit.not_to_static
    def traced(self, images: paddle.Tensor, im_shape: paddle.Tensor) -> dict[str, paddle.Tensor]:
        """The graph that is exported: images (B, channels, H, W) float32 -> presence (B, num_classes) float32."""
        return {"presence": F.sigmoid(self.logits(images).astype("float32"))}

    def forward(self, batch: Mapping[str, Any]) -> dict[str, paddle.Tensor] | list[Detections]:
        """Scalar losses, "loss" being their sum; in evaluation one `Detections` an image. All ranks call it together.

        Raises:
            UserError: a batch without objects' classes, or with one beyond `num_classes`.
            DivergenceError: in evaluation a probability is NaN or infinite.
        """
        if not self.training:
            found = self.candidates(batch, self.settings)
            return [one.select(one.scores > self.score_threshold).detections() for one in found]
        if batch.get("gt_class") is None:
            raise UserError("The batches have no objects to learn from: TrainDataset has no annotations.")
        targets = presence_of_labels(batch["gt_class"], self.num_classes)
        logits = self.logits(batch["image"])
        losses = Losses()
        losses.add("loss_bce", self._loss(logits, targets), len(targets))
        out: dict[str, paddle.Tensor] = dict(losses.over_ranks())
        out["loss"] = paddle.add_n([x.reshape([]) for x in out.values()])
        return out

    def _loss(self, logits: paddle.Tensor, targets: paddle.Tensor) -> paddle.Tensor:
        """Binary cross-entropy, averaged over images and classes; in float32 under `auto_cast`, too."""
        targets = targets * (1 - 2 * self.smoothing) + self.smoothing
        weight = paddle.full([self.num_classes], self.pos_weight) if self.pos_weight != 1 else None
        with paddle.amp.auto_cast(enable=False):
            return F.binary_cross_entropy_with_logits(logits.astype("float32"), targets, pos_weight=weight)

    # inference: the protocol of `ppdet_ext.inference.protocol`

    @staticmethod
    def has_masks(cfg: Mapping[str, Any]) -> bool:
        """Whether the model of a configuration gives masks."""
        return False

    @property
    def settings(self) -> TestSettings:
        """What the model is configured with."""
        return settings_of(self.score_threshold)

    @paddle.no_grad()
    def presence(self, batch: Mapping[str, Any]) -> np.ndarray:
        """Probabilities (B, num_classes) float32 that classes are in the images.

        Raises:
            DivergenceError: one is NaN or infinite.
        """
        return finite(F.sigmoid(self.logits(batch["image"]).astype("float32")), "probabilities that classes are there")

    def candidates(self, batch: Mapping[str, Any], settings: TestSettings) -> list[Candidates]:
        """An object as large as the image for each class, likely or not, best first.

        Raises:
            DivergenceError: an output is NaN or infinite.
        """
        sizes = np.asarray(batch["origin_shape"]).tolist()
        likely = self.presence(batch)
        return [Candidates.of_presence(height, width, own) for (height, width), own in zip(sizes, likely)]
