"""Linknet's decoder (arXiv 1707.03718): narrow blocks of transposed convolutions, features added."""

from collections.abc import Sequence

import paddle
from paddle import nn

from ppdet_ext.host.registry import register_module
from ppdet_ext.modeling.ops.norms import BatchNormReLU

from ..layers import conv_norm_relu, transposed_conv
from .base import Decoder, check_widths, demand_range


class _Block(nn.Layer):
    """To a quarter of the channels, to twice the size, to the channels of the finer features, which are added."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        hidden = inputs // 4
        self.block = nn.Sequential(
            conv_norm_relu(inputs, hidden, 1),
            nn.Sequential(transposed_conv(hidden), BatchNormReLU(hidden)),
            conv_norm_relu(hidden, outputs, 1),
        )

    def forward(self, x: paddle.Tensor, skip: paddle.Tensor | None = None) -> paddle.Tensor:
        x = self.block(x)
        return x if skip is None else x + skip


@register_module
class LinknetDecoder(Decoder):
    """Linknet's expanding path.

    Args:
        encoder_channels: of the image and of each of five features.
        channels: that come out.

    Raises:
        ValueError: the encoder has another number of features.
        UserError: channels are no whole numbers of 1 or more.
    """

    head_kernel, stride = 1, 32

    def __init__(self, encoder_channels: Sequence[int], channels: int = 32) -> None:
        super().__init__()
        demand_range("LinknetDecoder", channels=channels)
        coarse = check_widths("LinknetDecoder", encoder_channels, self.depth)[:0:-1]
        self.blocks = nn.LayerList([_Block(*widths) for widths in zip(coarse, [*coarse[1:], channels])])
        self.out_channels = channels

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        x, *finer = features[:0:-1]
        for block, skip in zip(self.blocks, [*finer, None]):
            x = block(x, skip)
        return x
