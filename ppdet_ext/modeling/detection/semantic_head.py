"""HTC's semantic segmentation branch."""

import paddle
import paddle.nn.functional as F
from paddle import nn
from ppdet.core.workspace import register

from ppdet_ext.modeling.ops.layers import conv
from ppdet_ext.modeling.ops.loss_functions import cross_entropy
from ppdet_ext.modeling.ops.seam import size_of

IGNORE = 255


@register
class FusedSemanticHead(nn.Layer):
    """Pyramid levels fused at one size, four convolutions, a segmentation and a feature that the RoIs see (HTC §3.3).

    Args:
        in_channels: channels of the pyramid.
        num_classes: object classes of the data set.
        num_semantic_classes: labels of the target, background included, 255 apart; num_classes + 1 where None.
        channels: width of the convolutions and of the feature.
        num_levels: pyramid levels used.
        fusion_level: the level whose size is taken.
        num_convs: 3×3 convolutions after the fusion.
        loss_weight: weight of the segmentation loss.
        stride: px of one output cell.
    """

    __shared__ = ["num_classes"]

    def __init__(
        self,
        in_channels: int = 256,
        num_classes: int = 80,
        num_semantic_classes: int | None = None,
        channels: int = 256,
        num_levels: int = 5,
        fusion_level: int = 1,
        num_convs: int = 4,
        loss_weight: float = 0.2,
        stride: int = 8,
    ):
        super().__init__()
        # Targets rasterised from instances have one label a class, and background.
        self.num_labels = num_semantic_classes or num_classes + 1
        self.fusion_level = fusion_level
        self.loss_weight = loss_weight
        self.stride = stride
        self.channels = channels
        self.laterals = nn.LayerList([conv(in_channels, in_channels, 1) for _ in range(num_levels)])
        self.convs = nn.LayerList([conv(in_channels if k == 0 else channels, channels, 3) for k in range(num_convs)])
        self.embedding = conv(channels, channels, 1)
        self.logits = conv(channels, self.num_labels, 1)

    @classmethod
    def from_config(cls, cfg: dict, input_shape: list) -> dict:
        """ppdet's wiring: widths and stride follow the pyramid."""
        return {"in_channels": input_shape[0].channels, "stride": int(input_shape[cfg["fusion_level"]].stride)}

    def forward(self, feats: list[paddle.Tensor], with_logits: bool = True) -> tuple[paddle.Tensor | None, paddle.Tensor]:
        """Pyramid (B, in_channels, H_l, W_l) -> logits (B, num_labels, h, w), or None, and the feature (B, channels, h, w)."""
        x = F.relu(self.laterals[self.fusion_level](feats[self.fusion_level]))
        size = size_of(x)
        for level, lateral in enumerate(self.laterals):
            if level != self.fusion_level:
                resized = F.interpolate(feats[level], size, mode="bilinear", align_corners=True)
                x = x + F.relu(lateral(resized))
        for layer in self.convs:
            x = layer(x, relu=True)
        return self.logits(x) if with_logits else None, F.relu(self.embedding(x))

    def loss(self, logits: paddle.Tensor, target: paddle.Tensor) -> paddle.Tensor:
        """Weighted cross-entropy, averaged over all cells, the ignored ones too (the reference's denominator).

        The cells of the padding count as well: over ranks whose batches are padded to different sizes the loss is the mean over
        the cells that there are, which are fewer than if all were padded to one size.

        Args:
            logits: (B, num_labels, h, w).
            target: (B, h·stride, w·stride) integer labels, 255 = ignore; every stride-th pixel is taken.
        """
        target = target[:, :: self.stride, :: self.stride].astype("int64")
        loss = cross_entropy(logits, target, axis=1, ignore_index=IGNORE)
        return loss.mean() * self.loss_weight
