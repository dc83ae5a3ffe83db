"""Layers of the decoders and heads, under segmentation_models_pytorch's names and with its initial weights."""

import math
from collections.abc import Sequence
from typing import Literal, TypeAlias

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import Constant, Initializer, KaimingUniform, Uniform, XavierUniform

from ppdet_ext.modeling.ops import conv_doubled
from ppdet_ext.modeling.ops.convolution import Conv2D
from ppdet_ext.modeling.ops.doubling import doubled, doubled_onto
from ppdet_ext.modeling.ops.enlarging import enlarged
from ppdet_ext.modeling.ops.layers import InplaceReLU
from ppdet_ext.modeling.ops.norms import BatchNormReLU
from ppdet_ext.modeling.ops.seam import size_of, takes_ours

# "kaiming": SMP's `initialize_decoder`; "xavier": its `initialize_head`; "torch": what torch gives a layer.
Start = Literal["kaiming", "xavier", "torch"]
# Height and width, as `size_of` gives them.
Size: TypeAlias = Sequence[int] | paddle.Tensor


def conv(
    inputs: int,
    outputs: int,
    kernel: int,
    *,
    bias: bool = False,
    dilation: int = 1,
    groups: int = 1,
    start: Start = "kaiming",
) -> Conv2D:
    """Convolution that keeps the size of its map."""
    weights, biases = _initializers(start, inputs // groups * kernel * kernel)
    return Conv2D(
        inputs,
        outputs,
        kernel,
        padding=kernel // 2 * dilation,
        dilation=dilation,
        groups=groups,
        weight_attr=paddle.ParamAttr(initializer=weights),
        bias_attr=paddle.ParamAttr(initializer=biases) if bias else False,
    )


def transposed_conv(channels: int) -> nn.Conv2DTranspose:
    """Transposed convolution, 4×4, that doubles the size of its map; SMP leaves it torch's initial weights."""
    weights, biases = _initializers("torch", channels * 16)
    attrs = [paddle.ParamAttr(initializer=one) for one in (weights, biases)]
    return nn.Conv2DTranspose(channels, channels, 4, stride=2, padding=1, weight_attr=attrs[0], bias_attr=attrs[1])


def linear(inputs: int, outputs: int, start: Start = "xavier") -> nn.Linear:
    """Fully connected layer."""
    weights, biases = _initializers(start, inputs)
    attrs = [paddle.ParamAttr(initializer=one) for one in (weights, biases)]
    return nn.Linear(inputs, outputs, weight_attr=attrs[0], bias_attr=attrs[1])


def _initializers(start: Start, fan_in: int) -> tuple[Initializer, Initializer]:
    """Of weights, and of biases."""
    if start == "torch":
        # torch's kaiming_uniform(a=√5) comes to the same bound for both.
        bound = 1 / math.sqrt(fan_in)
        return Uniform(-bound, bound), Uniform(-bound, bound)
    return (KaimingUniform() if start == "kaiming" else XavierUniform()), Constant(0.0)


def conv_norm_relu(inputs: int, outputs: int, kernel: int, norm: bool = True, start: Start = "kaiming") -> nn.Sequential:
    """Convolution, batch norm, ReLU; without the norm the convolution has a bias (SMP's Conv2dReLU)."""
    return nn.Sequential(
        conv(inputs, outputs, kernel, bias=not norm, start=start), BatchNormReLU(outputs) if norm else InplaceReLU()
    )


def separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3×3 convolution, then a pointwise one; no biases (DeepLabV3+)."""
    return nn.Sequential(
        conv(inputs, inputs, 3, dilation=dilation, groups=inputs, start="torch"), conv(inputs, outputs, 1, start="torch")
    )


class SCSE(nn.Layer):
    """Concurrent spatial and channel squeeze and excitation (arXiv 1803.02579): x·channel gate + x·pixel gate.

    Args:
        channels: of the map.
        reduction: the channel gate's hidden layer has channels / reduction units.
    """

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.cSE = nn.Sequential(
            nn.AdaptiveAvgPool2D(1),
            conv(channels, hidden, 1, bias=True),
            nn.ReLU(),
            conv(hidden, channels, 1, bias=True),
            nn.Sigmoid(),
        )
        self.sSE = nn.Sequential(conv(channels, 1, 1, bias=True), nn.Sigmoid())

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, channels, H, W), gated."""
        # One product in place of two, and the pixels' gate expanded first: on CPUs broadcasting it takes twice as long.
        return x * (self.sSE(x).expand(x.shape) + self.cSE(x))


class Attention(nn.Layer):
    """A gate under SMP's name `attention`, or none.

    Args:
        kind: None, or "scse".
        channels: of the map.

    Raises:
        ValueError: another kind.
    """

    def __init__(self, kind: str | None, channels: int) -> None:
        super().__init__()
        if kind not in (None, "scse"):
            raise ValueError(f"attention is {kind!r}; it is null or scse")
        self.attention = nn.Identity() if kind is None else SCSE(channels)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, channels, H, W), gated."""
        return self.attention(x)


def resize(x: paddle.Tensor, size: Size, mode: str = "nearest") -> paddle.Tensor:
    """(B, C, H, W) -> (B, C, *size), by the nearest pixel or bilinear between pixels' centres; `size` as of `size_of`."""
    if _doubles(x, size, mode):
        return doubled(x)
    if not isinstance(size, Sequence):
        return F.interpolate(x, size=size, mode=mode)
    return x if list(size) == x.shape[2:] else F.interpolate(x, size=list(size), mode=mode)


def resize_beside(x: paddle.Tensor, size: Size, skip: paddle.Tensor | None, mode: str = "nearest") -> paddle.Tensor:
    """What `resize` gives of x (B, C, H, W) and behind it `skip` (B, D, *size), if there is one: (B, C + D, *size)."""
    if skip is None:
        return resize(x, size, mode)
    if _doubles(x, size, mode) and skip.dtype == x.dtype:
        return doubled(x, skip)
    return paddle.concat([resize(x, size, mode), skip], axis=1)


def resize_onto(x: paddle.Tensor, other: paddle.Tensor) -> paddle.Tensor:
    """Maps x (B, C, H, W) by the nearest pixel at the size of others (B, C, h, w), plus those, whose memory may be used."""
    size = size_of(other)
    if _doubles(x, size, "nearest") and other.dtype == x.dtype:
        return doubled_onto(x, other)
    return resize(x, size) + other


def conv_beside(x: paddle.Tensor, size: Size, skip: paddle.Tensor | None, mode: str, layer: Conv2D) -> paddle.Tensor:
    """A convolution of what `resize_beside` gives; of doubled maps on a CPU without making them."""
    if _doubles(x, size, mode) and conv_doubled.applies(x, layer) and (skip is None or skip.dtype == x.dtype):
        return conv_doubled.conv3x3(x, skip, layer.weight)
    return layer(resize_beside(x, size, skip, mode))


def _doubles(x: paddle.Tensor, size: Size, mode: str) -> bool:
    """Whether that is what our operator does."""
    return (
        mode == "nearest"
        and takes_ours(x)
        and x.dtype == paddle.float32
        and isinstance(size, Sequence)
        and list(size) == [2 * side for side in x.shape[2:]]
    )


class Upsample(nn.Layer):
    """Bilinear enlargement whose corners stay corners (align_corners), as SMP's heads do.

    Args:
        factor: of each side.
    """

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, C, H, W) -> (B, C, factor·H, factor·W)."""
        return enlarged(x, times(size_of(x), self.factor))


def times(size: Size, factor: int) -> Size:
    """Height and width, as of `size_of`, times a factor."""
    return [side * factor for side in size] if isinstance(size, Sequence) else size * factor
