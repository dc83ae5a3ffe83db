"""U-Net (arXiv 1505.04597): step by step to the size of the next finer features, which are put beside."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import paddle
from paddle import nn

from ppdet_ext.host.registry import register_module
from ppdet_ext.modeling.ops.seam import size_of

from ..layers import Attention, Size, conv_beside, conv_norm_relu, resize_beside
from .base import Decoder, check_widths, demand_blocks

Interpolation = Literal["nearest", "bilinear"]


class UNetBlock(nn.Layer):
    """A coarse map at the size of finer features, both through two convolutions.

    Args:
        inputs: channels of the coarse map.
        skip: channels of the finer features; 0 where there are none.
        outputs: channels that come out.
        attention: None, or "scse" before and after the convolutions.
        norm: batch norm after each convolution.
        interpolation: of the coarse map.
    """

    def __init__(
        self,
        inputs: int,
        skip: int,
        outputs: int,
        attention: str | None = None,
        norm: bool = True,
        interpolation: Interpolation = "nearest",
    ) -> None:
        super().__init__()
        if interpolation not in ("nearest", "bilinear"):
            raise ValueError(f"interpolation is {interpolation!r}; it is nearest or bilinear")
        self.interpolation, self.attention = interpolation, attention
        self.conv1 = conv_norm_relu(inputs + skip, outputs, 3, norm)
        # SMP has this one in its last block, too, and never uses it.
        self.attention1 = Attention(attention, inputs + skip)
        self.conv2 = conv_norm_relu(outputs, outputs, 3, norm)
        self.attention2 = Attention(attention, outputs)

    def forward(self, x: paddle.Tensor, size: Size, skip: paddle.Tensor | None = None) -> paddle.Tensor:
        """(B, inputs, h, w) and (B, skip, *size) -> (B, outputs, *size)."""
        convolution, *others = self.conv1.children()
        if skip is None or self.attention is None:
            x = conv_beside(x, size, skip, self.interpolation, convolution)
        else:
            x = convolution(self.attention1(resize_beside(x, size, skip, self.interpolation)))
        # Layer by layer: called as one, they would hold the largest map until the last of them is done.
        for layer in others:
            x = layer(x)
        return self.attention2(self.conv2(x))


@register_module
class UNetDecoder(Decoder):
    """U-Net's expanding path; takes images of any size.

    Args:
        encoder_channels: of the image and of each feature.
        channels: of the blocks, coarsest first; their number is the number of the encoder's features.
        attention: None, or "scse" (arXiv 1803.02579) in each block.
        norm: batch norm after each convolution.
        interpolation: from a coarse map to the next finer: nearest, or bilinear.

    Raises:
        ValueError: the encoder has another number of features, or there is no such attention or interpolation.
        UserError: a number of channels is none, or there are more than an encoder has features.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        channels: Sequence[int] = (256, 128, 64, 32, 16),
        attention: Literal["scse"] | None = None,
        norm: bool = True,
        interpolation: Interpolation = "nearest",
    ) -> None:
        super().__init__()
        demand_blocks("UNetDecoder.channels", channels)
        self.depth = len(channels)
        _, *skips, inputs = check_widths(f"UNetDecoder of {len(channels)} channels", encoder_channels, self.depth)
        widths = zip([inputs, *channels[:-1]], [*skips[::-1], 0], channels)
        self.blocks = nn.LayerList([UNetBlock(*own, attention, norm, interpolation) for own in widths])
        for part in self.blocks[-1].attention1.parameters():
            part.stop_gradient = True
        self.out_channels = channels[-1]

    @classmethod
    def encoder_arguments(cls, section: Mapping[str, Any]) -> dict[str, int]:
        demand_blocks("UNetDecoder.channels", section["channels"])
        return {"depth": len(section["channels"])}

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        sizes = [size_of(one) for one in features]
        x = features.pop()
        for block, size in zip(self.blocks, sizes[-2::-1]):
            x = block(x, size, features.pop() if len(features) > 1 else None)
        return x
