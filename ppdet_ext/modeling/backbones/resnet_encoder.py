"""ResNet and ResNeXt as torchvision and segmentation_models_pytorch have them."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import paddle
import paddle.nn.functional as F
from paddle import nn

from ppdet_ext.host.registry import one_of, register_module
from ppdet_ext.modeling.ops.layers import add_into
from ppdet_ext.modeling.ops.norms import BatchNorm2D

from .cbam import CBAM
from .encoder import Encoder, kaiming_conv


class Variant(NamedTuple):
    """A ResNet: blocks of each stage, whether they are bottlenecks, groups and their width in the first stage."""

    blocks: tuple[int, int, int, int]
    bottleneck: bool
    groups: int = 1
    width: int = 64


class BasicBlock(nn.Layer):
    """Two 3×3 convolutions beside a shortcut; the first has the stride."""

    expansion = 1

    def __init__(self, inputs: int, planes: int, stride: int, groups: int, width: int, attention: str | None):
        super().__init__()
        self.conv1, self.bn1 = kaiming_conv(inputs, planes, 3, stride), BatchNorm2D(planes)
        self.conv2, self.bn2 = kaiming_conv(planes, planes, 3), BatchNorm2D(planes)
        self.cbam = CBAM(planes) if attention else None
        self.downsample = _shortcut(inputs, planes, stride)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, inputs, H, W) -> (B, planes, H/stride, W/stride)."""
        out = self.conv2(self.bn1.relu(self.conv1(x)))
        return _joined(self.bn2, out, self.cbam, x if self.downsample is None else self.downsample(x))


class Bottleneck(nn.Layer):
    """1×1, 3×3 and 1×1 convolutions beside a shortcut; the 3×3 has the stride, and the groups."""

    expansion = 4

    def __init__(self, inputs: int, planes: int, stride: int, groups: int, width: int, attention: str | None):
        super().__init__()
        inner, outputs = planes * width // 64 * groups, planes * self.expansion
        self.conv1, self.bn1 = kaiming_conv(inputs, inner, 1), BatchNorm2D(inner)
        self.conv2, self.bn2 = kaiming_conv(inner, inner, 3, stride, groups), BatchNorm2D(inner)
        self.conv3, self.bn3 = kaiming_conv(inner, outputs, 1), BatchNorm2D(outputs)
        self.cbam = CBAM(outputs) if attention else None
        self.downsample = _shortcut(inputs, outputs, stride)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, inputs, H, W) -> (B, 4 planes, H/stride, W/stride)."""
        out = self.bn1.relu(self.conv1(x))
        out = self.conv3(self.bn2.relu(self.conv2(out)))
        return _joined(self.bn3, out, self.cbam, x if self.downsample is None else self.downsample(x))


def _joined(norm: BatchNorm2D, x: paddle.Tensor, cbam: CBAM | None, shortcut: paddle.Tensor) -> paddle.Tensor:
    """ReLU of the normalised map, gated where there is a gate, plus the shortcut."""
    return norm.relu(x, shortcut) if cbam is None else F.relu(add_into(cbam(norm(x)), shortcut))


def _shortcut(inputs: int, outputs: int, stride: int) -> nn.Layer | None:
    """Projection of a block's input to its output's shape; None where they are equal."""
    if stride == 1 and inputs == outputs:
        return None
    return nn.Sequential(kaiming_conv(inputs, outputs, 1, stride), BatchNorm2D(outputs))


@register_module
class ResNetEncoder(Encoder):
    """Residual network (arXiv 1512.03385; ResNeXt, arXiv 1611.05431) with torchvision's layers and their names.

    f1 is the stem's map before pooling.

    Args:
        name: resnet18, 34, 50, 101, 152, resnext50_32x4d, resnext101_32x4d or resnext101_32x8d.
        in_channels: of the image.
        output_stride: 32, or 16 or 8 with dilated last stages.
        depth: how many of f1 … f5 are computed.
        return_idx: which of them are given, 0 being f1; None all that are computed. A detector takes [1, 2, 3, 4].
        norm_eval: batch norm uses its stored statistics in training too. For pretrained weights and small batches.
        freeze: no gradient for any parameter, and batch norm as with `norm_eval`.
        attention: "cbam" puts CBAM (arXiv 1807.06521) before each addition.
    """

    VARIANTS: ClassVar[dict[str, Variant]] = {
        "resnet18": Variant((2, 2, 2, 2), False),
        "resnet34": Variant((3, 4, 6, 3), False),
        "resnet50": Variant((3, 4, 6, 3), True),
        "resnet101": Variant((3, 4, 23, 3), True),
        "resnet152": Variant((3, 8, 36, 3), True),
        "resnext50_32x4d": Variant((3, 4, 6, 3), True, 32, 4),
        "resnext101_32x4d": Variant((3, 4, 23, 3), True, 32, 4),
        "resnext101_32x8d": Variant((3, 4, 23, 3), True, 32, 8),
    }

    def __init__(
        self,
        name: str = "resnet50",
        in_channels: int = 3,
        output_stride: int = 32,
        depth: int = 5,
        return_idx: Sequence[int] | None = None,
        norm_eval: bool = False,
        freeze: bool = False,
        attention: str | None = None,
    ):
        super().__init__()
        variant = self.variant(name)
        if attention is not None:
            one_of(attention, ["cbam"], "ResNetEncoder.attention")
        block = Bottleneck if variant.bottleneck else BasicBlock
        self.conv1, self.bn1 = kaiming_conv(in_channels, 64, 7, 2), BatchNorm2D(64)
        self.maxpool = nn.MaxPool2D(3, 2, 1)
        channels = [64]
        for i, count in enumerate(variant.blocks):
            planes = 64 << i
            shape = [(channels[-1], 2 if i else 1), *[(planes * block.expansion, 1)] * (count - 1)]
            blocks = [block(inputs, planes, stride, variant.groups, variant.width, attention) for inputs, stride in shape]
            self.add_sublayer(f"layer{i + 1}", nn.Sequential(*blocks))
            channels.append(planes * block.expansion)
        self.finish(channels, in_channels, output_stride, depth, return_idx, norm_eval, freeze)

    def stages(self) -> list[nn.Layer]:
        """Stem and the four stages."""
        return [nn.LayerList([self.conv1, self.bn1]), self.layer1, self.layer2, self.layer3, self.layer4]

    def features(self, image: paddle.Tensor) -> Iterator[paddle.Tensor]:
        """f1 … f5 of (B, in_channels, H, W)."""
        x = self.bn1.relu(self.conv1(image))
        yield x
        x = self.maxpool(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            yield x
