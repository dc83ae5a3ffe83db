"""ppdet's ResNet with the settings that the reference has and ppdet has not."""

from paddle import nn
from ppdet.core.workspace import register
from ppdet.modeling.backbones.name_adapter import NameAdapter
from ppdet.modeling.backbones.resnet import BasicBlock, Blocks, BottleNeck, ConvNormLayer, ResNet, ResNet_cfg

from ppdet_ext.modeling.ops.deform_conv import DeformConv2D


@register
class HTCResNet(ResNet):
    """Residual network (arXiv 1512.03385; ResNeXt, arXiv 1611.05431) from ppdet's blocks, 'pytorch' style (stride on the 3×3).

    ppdet's own class fixes the stages' widths at 64 … 512, and knows batch norm either frozen altogether or training;
    mmdetection's HTC runs it on its stored statistics while scale and shift go on learning.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: width of the stem and of the first stage; 64 is the standard.
        groups, base_width: ResNeXt's cardinality, and the width of a group in the first stage; 1 group is ResNet.
        norm_eval: batch norm uses its stored statistics in training too. For pretrained weights; off from scratch.
        freeze_at: -1 trains all; 0 keeps the stem and the first stage; n keeps n more.
        norm_decay: weight decay of batch norm's scale and shift.
        dcn_v1_stages, dcn_v2_stages: indices of stages (1 … 3 are c3 … c5) whose 3×3 convolutions are deformable, those with
            stride 2 included.
    """

    __shared__ = ["norm_type"]

    def __init__(
        self,
        depth: int = 50,
        base_channels: int = 64,
        groups: int = 1,
        base_width: int = 4,
        norm_type: str = "bn",
        norm_eval: bool = True,
        freeze_at: int = 0,
        norm_decay: float = 1e-4,
        dcn_v1_stages: tuple[int, ...] = (),
        dcn_v2_stages: tuple[int, ...] = (),
    ):
        nn.Layer.__init__(self)
        _check(depth, groups, tuple(dcn_v1_stages), tuple(dcn_v2_stages))
        self.depth, self.variant, self.groups, self.norm_type = depth, "b", groups, norm_type
        self.return_idx, self.num_stages = [0, 1, 2, 3], 4
        shared = {"norm_type": norm_type, "norm_decay": norm_decay, "freeze_norm": False}
        names, block = NameAdapter(self), BottleNeck if depth >= 50 else BasicBlock
        self.conv1 = nn.Sequential((names.fix_c1_stage_name(), ConvNormLayer(3, base_channels, 7, 2, act="relu", **shared)))
        widths = [base_channels << i for i in range(4)]
        self._out_channels, self._out_strides = [w * block.expansion for w in widths], [4, 8, 16, 32]
        self.res_layers = []
        for i, inputs in enumerate([base_channels, *self._out_channels[:3]]):
            # ppdet's width of a group is relative to a first stage of 64 channels, and counts without groups, too.
            width = 64 if groups == 1 else base_width * 64 / base_channels
            count, common = ResNet_cfg[depth][i], {"variant": "b", "groups": groups, "base_width": width, **shared}
            stage = Blocks(block, inputs, widths[i], count=count, name_adapter=names, stage_num=i + 2, **common)
            self.res_layers.append(self.add_sublayer(f"res{i + 2}", stage))
            if i in (*dcn_v1_stages, *dcn_v2_stages):
                for part in stage.blocks:
                    part.branch2b.conv = DeformConv2D(part.branch2b.conv, modulated=i in dcn_v2_stages)
        if norm_eval:
            self._use_stored_statistics()
        if freeze_at >= 0:
            for part in [self.conv1, *self.res_layers[: freeze_at + 1]]:
                self._freeze_parameters(part)

    def _use_stored_statistics(self) -> None:
        for layer in self.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer._use_global_stats = True


def _check(depth: int, groups: int, v1: tuple[int, ...], v2: tuple[int, ...]) -> None:
    if depth not in ResNet_cfg:
        raise ValueError(f"HTCResNet: depth {depth}; it must be one of {sorted(ResNet_cfg)}")
    if groups > 1 and depth < 50:
        raise ValueError(f"HTCResNet: groups is {groups}, but depth {depth} has no grouped convolutions; depth 50 or more has")
    if not set(v1 + v2) <= {0, 1, 2, 3}:
        raise ValueError(f"HTCResNet: deformable stages {sorted({*v1, *v2})}; they are indices of 0 … 3")
    if both := set(v1) & set(v2):
        raise ValueError(f"HTCResNet: stages {sorted(both)} are in dcn_v1_stages and in dcn_v2_stages; give one")
