"""U-Net++ (arXiv 1807.10165): between features and decoder lies a triangle of blocks, each beside all those before it."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import paddle
from paddle import nn

from ppdet_ext.host.registry import register_module
from ppdet_ext.modeling.ops.seam import size_of

from .base import Decoder, check_widths, demand_blocks
from .unet import Interpolation, UNetBlock


@register_module
class UNetPlusPlusDecoder(Decoder):
    """U-Net++ without deep supervision. Block x_i_j has the size of layer j's features; x_i_i are the first ones of a layer.

    Args:
        encoder_channels: of the image and of each feature.
        channels: of the blocks x_0_j, coarsest first; their number is the number of the encoder's features.
        attention: None, or "scse" in each block.
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
        demand_blocks("UNetPlusPlusDecoder.channels", channels)
        self.depth, self.stride = len(channels), 2 ** len(channels)
        _, *skips, inputs = check_widths(f"UNetPlusPlusDecoder of {len(channels)} channels", encoder_channels, self.depth)
        inner, skips = [inputs, *channels[:-1]], skips[::-1]
        self.last = self.depth - 1
        self.blocks = nn.LayerDict()
        for layer, skip in enumerate(skips):
            for depth in range(layer + 1):
                above = inner[layer] if depth == 0 else skips[layer - 1]
                outputs = channels[layer] if depth == 0 else skip
                block = UNetBlock(above, skip * (layer + 1 - depth), outputs, attention, norm, interpolation)
                self.blocks[f"x_{depth}_{layer}"] = block
        self.blocks[f"x_0_{self.last}"] = UNetBlock(inner[-1], 0, channels[-1], attention, norm, interpolation)
        for part in self.blocks[f"x_0_{self.last}"].attention1.parameters():
            part.stop_gradient = True
        self.out_channels = channels[-1]

    @classmethod
    def encoder_arguments(cls, section: Mapping[str, Any]) -> dict[str, int]:
        demand_blocks("UNetPlusPlusDecoder.channels", section["channels"])
        return {"depth": len(section["channels"])}

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        coarse = features[:0:-1]
        done: dict[tuple[int, int], paddle.Tensor] = {}
        for layer in range(self.last):
            skip = coarse[layer + 1]
            # Of a layer the first block sees the features alone, and each further one all blocks before it.
            for depth in range(layer, -1, -1):
                x = coarse[layer] if depth == layer else done[depth, layer - 1]
                beside = [done[i, layer] for i in range(depth + 1, layer + 1)]
                beside = paddle.concat([*beside, skip], axis=1) if beside else skip
                done[depth, layer] = self.blocks[f"x_{depth}_{layer}"](x, size_of(skip), beside)
        return self.blocks[f"x_0_{self.last}"](done[0, self.last - 1], size_of(features[0]))
