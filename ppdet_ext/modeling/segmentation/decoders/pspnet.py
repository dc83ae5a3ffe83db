"""PSPNet's decoder (arXiv 1612.01105): features beside their means over 1, 4, 9 and 36 fields of the image."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import paddle
from paddle import nn

from ppdet_ext.errors import UserError
from ppdet_ext.host.registry import register_module, whole_number_in
from ppdet_ext.modeling.backbones.encoder import STAGES
from ppdet_ext.modeling.ops.enlarging import enlarged
from ppdet_ext.modeling.ops.merging import Dropout2D
from ppdet_ext.modeling.ops.seam import size_of

from ..layers import conv_norm_relu
from .base import Decoder, check_widths, demand_range

BINS = (1, 2, 3, 6)


class _Means(nn.AdaptiveAvgPool2D):
    """Means over bins × bins fields; a graph computes them as products, as paddle2onnx takes other fields than Paddle."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        bins = self._output_size
        if paddle.in_dynamic_mode() or bins == 1:
            return super().forward(x)
        height, width = x.shape[2:]
        if min(height, width) < 0:
            raise UserError("PSPDecoder pools fields whose size a graph must know: export it with --size HEIGHT WIDTH.")
        return paddle.matmul(_fields(height, bins), paddle.matmul(x, _fields(width, bins).transpose([1, 0])))


def _fields(side: int, bins: int) -> paddle.Tensor:
    """(bins, side) float32: row i times a vector is its mean over the i-th field, as adaptive pooling cuts them."""
    rows = np.zeros((bins, side), np.float32)
    for i, row in enumerate(rows):
        first, end = i * side // bins, -(-(i + 1) * side // bins)
        row[first:end] = 1 / (end - first)
    return paddle.to_tensor(rows)


class _Bin(nn.Layer):
    """Means over bins × bins fields, through a 1×1 convolution, at the map's size again."""

    def __init__(self, inputs: int, outputs: int, bins: int) -> None:
        super().__init__()
        # One value of a channel leaves batch norm nothing to normalise, so SMP has none there.
        self.pool = nn.Sequential(_Means(bins), conv_norm_relu(inputs, outputs, 1, norm=bins > 1))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return enlarged(self.pool(x), size_of(x))


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
        UserError: channels or depth are no whole numbers of 1 or more, or dropout is no share.
    """

    def __init__(self, encoder_channels: Sequence[int], channels: int = 512, dropout: float = 0.2, depth: int = 3) -> None:
        super().__init__()
        demand_range("PSPDecoder", dropout, channels=channels)
        self.depth = depth
        self.stride = self.upsampling = 2**depth
        inputs = check_widths(f"PSPDecoder of depth {depth}", encoder_channels, depth)[-1]
        self.psp = _PyramidPooling(inputs)
        self.conv = conv_norm_relu(inputs // len(BINS) * len(BINS) + inputs, channels, 1)
        self.dropout = Dropout2D(dropout)
        self.out_channels = channels

    @classmethod
    def encoder_arguments(cls, section: Mapping[str, Any]) -> dict[str, int]:
        return {"depth": whole_number_in(section["depth"], "PSPDecoder.depth", 1, STAGES)}

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        return self.dropout(self.conv(self.psp(features[-1])))
