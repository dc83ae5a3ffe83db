"""DeepLabV3 (arXiv 1706.05587) and V3+ (arXiv 1802.02611): convolutions of several dilations side by side.

SMP never calls its own initialization for these two: all weights start as torch's layers do.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.host.registry import register_module, whole_number_in
from ppdet_ext.modeling.ops.norms import BatchNorm2D, BatchNormReLU
from ppdet_ext.modeling.ops.seam import size_of

from ..layers import Upsample, conv, conv_norm_relu
from ..layers import separable as _separable
from .base import Decoder, check_widths, demand_range

RATES = (12, 24, 36)


class _ImagePooling(nn.Sequential):
    """The mean of the image through a 1×1 convolution, at every cell."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2D(1), conv(inputs, outputs, 1, start="torch"), BatchNormReLU(outputs))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return F.interpolate(super().forward(x), size=size_of(x), mode="bilinear")


class ASPP(nn.Layer):
    """Atrous spatial pyramid pooling.

    Args:
        inputs: channels of the map.
        outputs: channels that come out.
        rates: dilations, in cells.
        depthwise: depthwise and pointwise convolutions in place of full ones.
        dropout: share of the values left out in training.
    """

    def __init__(self, inputs: int, outputs: int, rates: Sequence[int], depthwise: bool, dropout: float) -> None:
        super().__init__()
        for rate in rates:
            whole_number_in(rate, "DeepLab's rates", 1)
        parts: list[nn.Layer] = [conv_norm_relu(inputs, outputs, 1, start="torch")]
        for rate in rates:
            wide = _separable(inputs, outputs, rate) if depthwise else conv(inputs, outputs, 3, dilation=rate, start="torch")
            parts.append(nn.Sequential(wide, BatchNormReLU(outputs)))
        self.convs = nn.LayerList([*parts, _ImagePooling(inputs, outputs)])
        projection = conv_norm_relu(len(self.convs) * outputs, outputs, 1, start="torch")
        self.project = nn.Sequential(*projection, nn.Dropout(dropout))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, inputs, h, w) -> (B, outputs, h, w)."""
        return self.project(paddle.concat([part(x) for part in self.convs], axis=1))


class _DeepLab(Decoder):
    """What both have: an encoder whose last stages are dilated instead of strided."""

    head_kernel, head_start = 1, "torch"
    output_stride: int

    @property
    def strides(self) -> list[int]:
        return [min(one, self.output_stride) for one in super().strides]

    @classmethod
    def encoder_arguments(cls, section: Mapping[str, Any]) -> dict[str, int]:
        return {"depth": cls.depth, "output_stride": cls._checked(section["output_stride"])}

    @classmethod
    def _checked(cls, output_stride: int) -> int:
        if output_stride not in (8, 16):
            raise ValueError(f"{cls.__name__}.output_stride is {output_stride}; it is 8 or 16")
        return output_stride


@register_module
class DeepLabV3Decoder(_DeepLab):
    """DeepLabV3: ASPP of the last feature and a convolution.

    Args:
        encoder_channels: of the image and of each of five features.
        channels: that come out.
        rates: dilations of the ASPP, in cells.
        separable: depthwise and pointwise convolutions in the ASPP.
        dropout: after the ASPP, in training.
        output_stride: px of a cell of the last feature, 8 or 16.

    Raises:
        ValueError: the encoder has another number of features, or there is no such output stride.
        UserError: channels or rates are no whole numbers of 1 or more, or dropout is no share.
    """

    def __init__(
        self,
        encoder_channels: Sequence[int],
        channels: int = 256,
        rates: Sequence[int] = RATES,
        separable: bool = False,
        dropout: float = 0.5,
        output_stride: int = 8,
    ) -> None:
        super().__init__()
        demand_range("DeepLabV3Decoder", dropout, channels=channels)
        inputs = check_widths("DeepLabV3Decoder", encoder_channels, self.depth)[-1]
        self.stride = self.output_stride = self._checked(output_stride)
        self.aspp = ASPP(inputs, channels, rates, separable, dropout)
        self.conv = conv(channels, channels, 3, start="torch")
        self.bn = BatchNorm2D(channels)
        self.upsampling, self.out_channels = output_stride, channels

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        return self.bn.relu(self.conv(self.aspp(features[-1])))


@register_module
class DeepLabV3PlusDecoder(_DeepLab):
    """DeepLabV3+: ASPP of the last feature, enlarged to stride 4, beside the second.

    Args:
        encoder_channels: of the image and of each of five features.
        channels: that come out.
        rates: dilations of the ASPP, in cells.
        separable: depthwise and pointwise convolutions in the ASPP.
        dropout: after the ASPP, in training.
        output_stride: px of a cell of the last feature, 8 or 16.
        low_channels: that the second feature is reduced to.

    Raises:
        ValueError: the encoder has another number of features, or there is no such output stride.
        UserError: channels or rates are no whole numbers of 1 or more, or dropout is no share.
    """

    upsampling = 4

    def __init__(
        self,
        encoder_channels: Sequence[int],
        channels: int = 256,
        rates: Sequence[int] = RATES,
        separable: bool = True,
        dropout: float = 0.5,
        output_stride: int = 16,
        low_channels: int = 48,
    ) -> None:
        super().__init__()
        demand_range("DeepLabV3PlusDecoder", dropout, channels=channels, low_channels=low_channels)
        _, _, low, _, _, inputs = check_widths("DeepLabV3PlusDecoder", encoder_channels, self.depth)
        self.stride = self.output_stride = self._checked(output_stride)
        aspp = ASPP(inputs, channels, rates, separable, dropout)
        self.aspp = nn.Sequential(aspp, _separable(channels, channels), BatchNormReLU(channels))
        self.up = Upsample(output_stride // 4)
        self.block1 = conv_norm_relu(low, low_channels, 1, start="torch")
        self.block2 = nn.Sequential(_separable(channels + low_channels, channels), BatchNormReLU(channels))
        self.out_channels = channels

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        x = self.up(self.aspp(features[-1]))
        return self.block2(paddle.concat([x, self.block1(features[2])], axis=1))
