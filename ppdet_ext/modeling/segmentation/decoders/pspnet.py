"""PSPNet's decoder (arXiv 1612.01105): features beside their means over 1, 4, 9 and 36 fields of the image."""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
from paddle import nn

from ppdet_ext.host.registry import register_module

from ..layers import conv_norm_relu, enlarge
from .base import Decoder, check_widths

BINS = (1, 2, 3, 6)


class _Bin(nn.Layer):
    """Means over bins × bins fields, through a 1×1 convolution, at the map's size again."""

    def __init__(self, inputs: int, outputs: int, bins: int) -> None:
        super().__init__()
        # One value of a channel leaves batch norm nothing to normalise, so SMP has none there.
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2D(bins), conv_norm_relu(inputs, outputs, 1, norm=bins > 1))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return enlarge(self.pool(x), x.shape[2:])


class _PyramidPooling(nn.Layer):
    """A map (B, inputs, h, w) and its bins, side by side: (B, 2·inputs, h, w)."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.blocks = nn.LayerList([_Bin(inputs, inputs // len(BINS), bins) for bins in BINS])

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return paddle.concat([*(block(x) for block in self.blocks), x], axis=1)


@register_module
class PSPDecoder(Decoder):
    """Pyramid pooling of the last feature.

    Args:
        encoder_channels: of the image and of each feature.
        channels: that come out.
        dropout: share of them left out in training.
        depth: number of the encoder's features; the last one, of stride 2 ** depth, is pooled.

    Raises:
        ValueError: the encoder has another number of features.
    """

    def __init__(self, encoder_channels: Sequence[int], channels: int = 512, dropout: float = 0.2, depth: int = 3) -> None:
        super().__init__()
        self.depth = depth
        self.stride = self.upsampling = 2**depth
        inputs = check_widths(f"PSPDecoder of depth {depth}", encoder_channels, depth)[-1]
        self.psp = _PyramidPooling(inputs)
        self.conv = conv_norm_relu(inputs // len(BINS) * len(BINS) + inputs, channels, 1)
        self.dropout = nn.Dropout2D(dropout)
        self.out_channels = channels

    @classmethod
    def encoder_arguments(cls, section: Mapping[str, Any]) -> dict[str, int]:
        return {"depth": section["depth"]}

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        return self.dropout(self.conv(self.psp(features[-1])))
