"""FPN's decoder (Panoptic Feature Pyramid Networks, arXiv 1901.02446, §3.2)."""

from collections.abc import Sequence
from typing import Literal

import paddle
from paddle import nn

from ppdet_ext.host.registry import register_module
from ppdet_ext.modeling.ops.enlarging import enlarged
from ppdet_ext.modeling.ops.merging import Dropout2D, added
from ppdet_ext.modeling.ops.norms import GroupNormReLU
from ppdet_ext.modeling.ops.seam import size_of

from ..layers import conv, resize_onto, times
from .base import Decoder, check_widths, demand_range

GROUPS = 32


class _Convolution(nn.Layer):
    """3×3 convolution, group norm, ReLU, and twice the size if asked for."""

    def __init__(self, inputs: int, outputs: int, upsample: bool) -> None:
        super().__init__()
        self.upsample = upsample
        self.block = nn.Sequential(conv(inputs, outputs, 3), GroupNormReLU(GROUPS, outputs))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        x = self.block(x)
        return enlarged(x, times(size_of(x), 2)) if self.upsample else x


class _Branch(nn.Layer):
    """Convolutions that take a pyramid level to the finest one's size: `doublings` of them, at least one."""

    def __init__(self, inputs: int, outputs: int, doublings: int) -> None:
        super().__init__()
        widths = [inputs] + [outputs] * max(doublings - 1, 0)
        self.block = nn.Sequential(*(_Convolution(width, outputs, doublings > 0) for width in widths))

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        return self.block(x)


class _Level(nn.Layer):
    """The coarser pyramid level at twice its size, plus the features through a 1×1 convolution."""

    def __init__(self, channels: int, skip: int) -> None:
        super().__init__()
        self.skip_conv = conv(skip, channels, 1, bias=True)

    def forward(self, x: paddle.Tensor, skip: paddle.Tensor) -> paddle.Tensor:
        return resize_onto(x, self.skip_conv(skip))


@register_module
class FPNDecoder(Decoder):
    """Feature pyramid of strides 32 … 4, its levels brought to stride 4 and merged.

    Args:
        encoder_channels: of the image and of each of five features.
        pyramid_channels: of the pyramid.
        channels: of each level after its convolutions; a multiple of 32, which group norm makes groups of.
        merge: "add" the levels, or "cat" them, which gives four times the channels.
        dropout: share of the merged channels left out in training.

    Raises:
        ValueError: the encoder has another number of features, channels are no multiple of 32, or there is no such merge.
        UserError: channels are no whole numbers of 1 or more, or dropout is no share.
    """

    head_kernel, upsampling, stride = 1, 4, 32

    def __init__(
        self,
        encoder_channels: Sequence[int],
        pyramid_channels: int = 256,
        channels: int = 128,
        merge: Literal["add", "cat"] = "add",
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        demand_range("FPNDecoder", dropout, pyramid_channels=pyramid_channels)
        _, _, c2, c3, c4, c5 = check_widths("FPNDecoder", encoder_channels, self.depth)
        if channels <= 0 or channels % GROUPS:
            raise ValueError(f"FPNDecoder.channels is {channels}; group norm takes multiples of {GROUPS}")
        if merge not in ("add", "cat"):
            raise ValueError(f"FPNDecoder.merge is {merge!r}; it is add or cat")
        self.merge = merge
        self.p5 = conv(c5, pyramid_channels, 1, bias=True)
        self.p4 = _Level(pyramid_channels, c4)
        self.p3 = _Level(pyramid_channels, c3)
        self.p2 = _Level(pyramid_channels, c2)
        self.seg_blocks = nn.LayerList([_Branch(pyramid_channels, channels, n) for n in (3, 2, 1, 0)])
        self.dropout = Dropout2D(dropout)
        self.out_channels = channels if merge == "add" else 4 * channels

    def forward(self, features: list[paddle.Tensor]) -> paddle.Tensor:
        # Each is let go of when it is used; the first two are not.
        del features[:2]
        p5 = self.p5(features.pop())
        p4 = self.p4(p5, features.pop())
        p3 = self.p3(p4, features.pop())
        p2 = self.p2(p3, features.pop())
        levels = [branch(level) for branch, level in zip(self.seg_blocks, (p5, p4, p3, p2))]
        return self.dropout(added(levels) if self.merge == "add" else paddle.concat(levels, axis=1))
