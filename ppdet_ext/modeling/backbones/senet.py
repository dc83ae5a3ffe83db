"""SENet, SE-ResNet and SE-ResNeXt as Cadene's pretrained-models and segmentation_models_pytorch have them."""

from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

import paddle
from paddle import nn

from ppdet_ext.host.registry import register_module
from ppdet_ext.modeling.ops.norms import BatchNorm2D, BatchNormReLU

from .encoder import Encoder, conv

_REDUCTION = 16


class Variant(NamedTuple):
    """A SENet: blocks of each stage, the kind of its block, and groups of its 3×3 convolutions."""

    blocks: tuple[int, int, int, int]
    kind: str
    groups: int = 1


class Block(nn.Layer):
    """1×1, 3×3 and 1×1 convolutions, then squeeze and excitation, beside a shortcut.

    Args:
        inputs, planes: channels; the block gives 4 × planes.
        stride: of the first 1×1 in "se_resnet" (as Caffe's models had it), of the 3×3 in the others.
        kind: "se_resnet", "se_resnext" or "senet"; the inner widths depend on it.
        groups: of the 3×3 convolution.
        shortcut: size of the shortcut's kernel, or 0 for the input itself.
    """

    def __init__(self, inputs: int, planes: int, stride: int, kind: str, groups: int, shortcut: int):
        super().__init__()
        first, inner = {"se_resnet": (planes, planes), "se_resnext": (planes * 2,) * 2, "senet": (planes * 2, planes * 4)}[kind]
        strides = (stride, 1) if kind == "se_resnet" else (1, stride)
        self.conv1, self.bn1 = conv(inputs, first, 1, strides[0]), BatchNorm2D(first)
        self.conv2, self.bn2 = conv(first, inner, 3, strides[1], groups), BatchNorm2D(inner)
        self.conv3, self.bn3 = conv(inner, planes * 4, 1), BatchNorm2D(planes * 4)
        squeezed = planes * 4 // _REDUCTION
        self.se_module = nn.LayerDict(
            {"fc1": conv(planes * 4, squeezed, 1, bias=True), "fc2": conv(squeezed, planes * 4, 1, bias=True)}
        )
        self.downsample = (
            nn.Sequential(conv(inputs, planes * 4, shortcut, stride), BatchNorm2D(planes * 4)) if shortcut else None
        )

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, inputs, H, W) -> (B, 4 planes, H/stride, W/stride)."""
        out = self.bn1.relu(self.conv1(x))
        out = self.bn2.relu(self.conv2(out))
        shortcut = x if self.downsample is None else self.downsample(x)
        return self.bn3.relu(self.conv3(out), shortcut, [*self.se_module.values()])


@register_module
class SENetEncoder(Encoder):
    """Squeeze-and-excitation network (arXiv 1709.01507) with the layers of Cadene's pretrained-models and their names.

    f1 is the stem's map before pooling. The pool has no padding and rounds up, unlike ResNet's.

    Args:
        name: se_resnet50, 101, 152, se_resnext50_32x4d, se_resnext101_32x4d or senet154.
        in_channels, output_stride, depth, return_idx, norm_eval, freeze: as of `ResNetEncoder`.
    """

    VARIANTS: ClassVar[dict[str, Variant]] = {
        "se_resnet50": Variant((3, 4, 6, 3), "se_resnet"),
        "se_resnet101": Variant((3, 4, 23, 3), "se_resnet"),
        "se_resnet152": Variant((3, 8, 36, 3), "se_resnet"),
        "se_resnext50_32x4d": Variant((3, 4, 6, 3), "se_resnext", 32),
        "se_resnext101_32x4d": Variant((3, 4, 23, 3), "se_resnext", 32),
        "senet154": Variant((3, 8, 36, 3), "senet", 64),
    }

    def __init__(
        self,
        name: str = "se_resnext50_32x4d",
        in_channels: int = 3,
        output_stride: int = 32,
        depth: int = 5,
        return_idx: Sequence[int] | None = None,
        norm_eval: bool = False,
        freeze: bool = False,
    ):
        super().__init__()
        variant = self.variant(name)
        self.layer0, stem = _stem(in_channels, large=variant.kind == "senet")
        self.pool = nn.MaxPool2D(3, 2, ceil_mode=True)
        channels = [stem]
        for i, count in enumerate(variant.blocks):
            planes = 64 << i
            shortcut = 3 if variant.kind == "senet" and i else 1
            shapes = [(channels[-1], 2 if i else 1, shortcut), *[(planes * 4, 1, 0)] * (count - 1)]
            blocks = [Block(inputs, planes, stride, variant.kind, variant.groups, kernel) for inputs, stride, kernel in shapes]
            self.add_sublayer(f"layer{i + 1}", nn.Sequential(*blocks))
            channels.append(planes * 4)
        self.finish(channels, in_channels, output_stride, depth, return_idx, norm_eval, freeze)

    def stages(self) -> list[nn.Layer]:
        """Stem and the four stages."""
        return [self.layer0, self.layer1, self.layer2, self.layer3, self.layer4]

    def features(self, image: paddle.Tensor) -> Iterator[paddle.Tensor]:
        """f1 … f5 of (B, in_channels, H, W)."""
        x = self.layer0(image)
        yield x
        x = self.pool(x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            yield x


def _stem(in_channels: int, large: bool) -> tuple[nn.Layer, int]:
    """First layers and their channels: a 7×7 convolution, or SENet-154's three 3×3."""
    shapes = [(in_channels, 64, 3, 2), (64, 64, 3, 1), (64, 128, 3, 1)] if large else [(in_channels, 64, 7, 2)]
    layers: list[tuple[str, nn.Layer]] = []
    for i, (inputs, outputs, kernel, stride) in enumerate(shapes, 1):
        layers += [(f"conv{i}", conv(inputs, outputs, kernel, stride)), (f"bn{i}", BatchNormReLU(outputs))]
    return nn.Sequential(*layers), shapes[-1][1]
