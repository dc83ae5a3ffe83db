"""EfficientNet as efficientnet_pytorch and segmentation_models_pytorch have it."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import ClassVar, NamedTuple

import paddle
from paddle import nn

from ppdet_ext.host.registry import number_in, one_of, register_module
from ppdet_ext.modeling.ops import depthwise
from ppdet_ext.modeling.ops.gates import squeeze_excite
from ppdet_ext.modeling.ops.norms import BatchNorm2D

from .encoder import STAGES, Encoder, conv

# (number of a block, n images) -> (n,) float32 from [0, 1)
Uniforms = Callable[[int, int], paddle.Tensor]
# left and right, which are top and bottom too
Padding = tuple[int, int]


class Variant(NamedTuple):
    """Factors of width and depth, side of the nominal image, and the numbers of blocks up to f2, f3, f4, f5."""

    width: float
    depth: float
    side: int
    taps: tuple[int, int, int, int]


class Stage(NamedTuple):
    """Blocks alike but for the first: their number, kernel, stride of the first, expansion, channels in and out."""

    blocks: int
    kernel: int
    stride: int
    expansion: int
    inputs: int
    outputs: int


_STAGES = [
    Stage(1, 3, 1, 1, 32, 16),
    Stage(2, 3, 2, 6, 16, 24),
    Stage(2, 5, 2, 6, 24, 40),
    Stage(3, 3, 2, 6, 40, 80),
    Stage(3, 5, 1, 6, 80, 112),
    Stage(4, 5, 2, 6, 112, 192),
    Stage(1, 3, 1, 6, 192, 320),
]
_STEM, _HEAD = 32, 1280
_EPSILON, _MOMENTUM = 1e-3, 0.01


def _norm(channels: int) -> BatchNorm2D:
    return BatchNorm2D(channels, _MOMENTUM, _EPSILON)


class PaddedConv(nn.Conv2D):
    """Convolution without bias that pads by its own `before` at left and top and `after` at right and bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, padding: Padding, groups: int = 1):
        bound = (inputs // groups * kernel * kernel) ** -0.5
        attr = paddle.ParamAttr(initializer=nn.initializer.Uniform(-bound, bound))
        before, after = padding
        super().__init__(inputs, outputs, kernel, stride, [before, after] * 2, groups=groups, weight_attr=attr, bias_attr=False)

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(n, inputs, H, W) -> (n, outputs, H', W')."""
        return depthwise.convolved(x, self) if depthwise.applies(x, self) else super().forward(x)


class MBConvBlock(nn.Layer):
    """Inverted bottleneck (arXiv 1801.04381) with squeeze and excitation: expand, depthwise convolution, gate, project.

    Args:
        inputs, outputs: channels.
        kernel, stride, padding: of the depthwise convolution.
        expansion: of the channels inside; 1 has no layer for it.
        drop: draws for n images, whether training leaves the block out, where it has a shortcut: factors (n,), which are 0
            or make up for the images left out.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int,
        padding: Padding,
        expansion: int,
        drop: Callable[[int], paddle.Tensor] | None,
    ):
        super().__init__()
        inner, squeezed = inputs * expansion, max(1, inputs // 4)
        if expansion != 1:
            self._expand_conv, self._bn0 = conv(inputs, inner, 1), _norm(inner)
        self.expands = expansion != 1
        self._depthwise_conv = PaddedConv(inner, inner, kernel, stride, padding, groups=inner)
        self._bn1 = _norm(inner)
        self._se_reduce, self._se_expand = conv(inner, squeezed, 1, bias=True), conv(squeezed, inner, 1, bias=True)
        self._project_conv, self._bn2 = conv(inner, outputs, 1), _norm(outputs)
        self.has_shortcut = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(B, inputs, H, W) -> (B, outputs, H/stride, W/stride)."""
        out = self._bn0.silu(self._expand_conv(x)) if self.expands else x
        out = self._bn1.silu(self._depthwise_conv(out))
        out = self._project_conv(squeeze_excite(out, self._se_reduce, self._se_expand))
        if not self.has_shortcut:
            return self._bn2(out)
        factors = self.drop(x.shape[0]) if self.training and self.drop is not None else None
        return self._bn2.added(out, x, factors)


@register_module
class EfficientNetEncoder(Encoder):
    """EfficientNet (arXiv 1905.11946) with the layers of efficientnet_pytorch and their names.

    Its checkpoints come in two dialects with equal tensors. Since segmentation_models_pytorch 0.3.0 each convolution pads as it
    must for the size that its input has when the image has the variant's nominal size ("nominal"). Before, and in
    efficientnet_pytorch up to 0.6.3, each pads as if its input were the image ("same"): checkpoints of 2019 to 2021 need it.
    They differ where a stride meets an odd size: nowhere in b0, from f3 on in b2, b3, b4.

    Args:
        name: efficientnet-b0 … efficientnet-b7.
        in_channels, output_stride, depth, return_idx, norm_eval, freeze: as of `ResNetEncoder`.
        padding: "nominal" or "same"; None for what weights of another framework tell when they are loaded to be used as they
            are, else "nominal".
        drop_connect: probability with which training leaves the last block out for an image (arXiv 1603.09382); it grows
            linearly from 0 in the first block.
    """

    VARIANTS: ClassVar[dict[str, Variant]] = {
        # SMP takes b0's f4 after the first block of a stage, the others' at its end.
        "efficientnet-b0": Variant(1.0, 1.0, 224, (3, 5, 9, 16)),
        "efficientnet-b1": Variant(1.0, 1.1, 240, (5, 8, 16, 23)),
        "efficientnet-b2": Variant(1.1, 1.2, 260, (5, 8, 16, 23)),
        "efficientnet-b3": Variant(1.2, 1.4, 300, (5, 8, 18, 26)),
        "efficientnet-b4": Variant(1.4, 1.8, 380, (6, 10, 22, 32)),
        "efficientnet-b5": Variant(1.6, 2.2, 456, (8, 13, 27, 39)),
        "efficientnet-b6": Variant(1.8, 2.6, 528, (9, 15, 31, 45)),
        "efficientnet-b7": Variant(2.0, 3.1, 600, (11, 18, 38, 55)),
    }

    def __init__(
        self,
        name: str = "efficientnet-b0",
        in_channels: int = 3,
        output_stride: int = 32,
        depth: int = 5,
        return_idx: Sequence[int] | None = None,
        norm_eval: bool = False,
        freeze: bool = False,
        padding: str | None = None,
        drop_connect: float = 0.2,
    ):
        super().__init__()
        variant = self.variant(name)
        if padding is not None:
            one_of(padding, ["nominal", "same"], "EfficientNetEncoder.padding")
        number_in(drop_connect, "EfficientNetEncoder.drop_connect", 0, 0.99)
        # Replaced where the draws must be given; paddle's generator, which the trainer seeds for each step, draws otherwise.
        self.uniforms: Uniforms = lambda block, count: paddle.rand([count])
        self.configured_padding, self.padding = padding, padding or "nominal"
        self._scheme = stages, side = [_scaled(stage, variant) for stage in _STAGES], variant.side
        stem, self._cuts = stages[0].inputs, (0, *variant.taps)
        self._conv_stem = PaddedConv(in_channels, stem, 3, 2, _padding(side, 3, 2))
        self._bn0 = _norm(stem)
        self._blocks = nn.LayerList(self._build(drop_connect))
        head = _rounded(_HEAD, variant.width)
        self._conv_head, self._bn1 = conv(stages[-1].outputs, head, 1), _norm(head)
        channels = [stem, *(stages[i].outputs for i in (1, 2, 4, 6))]
        self.finish(channels, in_channels, output_stride, depth, return_idx, norm_eval, freeze)

    def _paddings(self) -> Iterator[tuple[Stage, int, Padding]]:
        """Stage, number in it, and padding of each block, as `padding` says."""
        stages, side = self._scheme
        size = side if self.padding == "same" else math.ceil(side / 2)
        for stage in stages:
            for i in range(stage.blocks):
                stride = 1 if i else stage.stride
                yield stage, i, _padding(size, stage.kernel, stride)
                size = size if self.padding == "same" else math.ceil(size / stride)

    def _build(self, drop_connect: float) -> Iterator[MBConvBlock]:
        """All blocks in order."""
        scheme = list(self._paddings())
        for number, (stage, i, pad) in enumerate(scheme):
            stride, inputs = (1, stage.outputs) if i else (stage.stride, stage.inputs)
            rate = drop_connect * number / len(scheme)
            drop = partial(self._kept, number, 1 - rate) if rate else None
            yield MBConvBlock(inputs, stage.outputs, stage.kernel, stride, pad, stage.expansion, drop)

    def pad_as(self, padding: str) -> None:
        """Compute with "nominal" or "same" padding from now on; dilated convolutions keep theirs."""
        self.padding = one_of(padding, ["nominal", "same"], "EfficientNetEncoder.padding")
        for block, (_, _, (before, after)) in zip(self._blocks, self._paddings()):
            if block._depthwise_conv._dilation == [1, 1]:
                block._depthwise_conv._updated_padding = [before, after] * 2

    def _kept(self, number: int, keep: float, count: int) -> paddle.Tensor:
        """For each of `count` images 1/keep with probability `keep`, else 0."""
        return paddle.floor(keep + self.uniforms(number, count)) / keep

    def _parts(self) -> list[list[MBConvBlock]]:
        """Blocks that lead to f2, f3, f4 and f5."""
        blocks = list(self._blocks)
        return [blocks[a:b] for a, b in zip(self._cuts, self._cuts[1:])]

    def stages(self) -> list[nn.Layer]:
        """Stem, four parts of the blocks, and the head, which only a classifier uses."""
        parts = [nn.LayerList(part) for part in self._parts()]
        stem, head = nn.LayerList([self._conv_stem, self._bn0]), nn.LayerList([self._conv_head, self._bn1])
        return [stem, *parts, head]

    def features(self, image: paddle.Tensor) -> Iterator[paddle.Tensor]:
        """f1 … f5 of (B, in_channels, H, W)."""
        x = self._bn0.silu(self._conv_stem(image))
        yield x
        for number, part in enumerate(self._parts(), 2):
            for block in part:
                x = block(x)
            if self.training and number == self.depth < STAGES:
                self._run_idle(self._parts()[number - 1], x)
            yield x

    @paddle.no_grad()
    def _run_idle(self, part: list[MBConvBlock], x: paddle.Tensor) -> None:
        """Run the part behind the last map, as SMP does: its batch norms gather statistics, though nothing uses the output."""
        for block in part:
            x = block(x)


def _scaled(stage: Stage, variant: Variant) -> Stage:
    """A stage of b0 as a variant has it."""
    blocks = math.ceil(variant.depth * stage.blocks)
    inputs, outputs = _rounded(stage.inputs, variant.width), _rounded(stage.outputs, variant.width)
    return stage._replace(blocks=blocks, inputs=inputs, outputs=outputs)


def _rounded(channels: int, factor: float) -> int:
    """Channels times a factor, to the nearest multiple of 8 that is not less than nine tenths of it."""
    wanted = channels * factor
    found = max(8, int(wanted + 4) // 8 * 8)
    return found + 8 if found < 0.9 * wanted else found


def _padding(size: int, kernel: int, stride: int) -> Padding:
    """TensorFlow's padding of a side of `size` pixels, the larger half at the end."""
    total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
