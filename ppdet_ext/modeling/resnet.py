"""ppdet's ResNet with the settings that the reference has and ppdet has not."""

from paddle import nn
from ppdet.core.workspace import register
from ppdet.modeling.backbones.name_adapter import NameAdapter
from ppdet.modeling.backbones.resnet import BasicBlock, Blocks, BottleNeck, ConvNormLayer, ResNet, ResNet_cfg


@register
class HTCResNet(ResNet):
    """Residual network (arXiv 1512.03385; ResNeXt, arXiv 1611.05431) from ppdet's blocks, 'pytorch' style (stride on the 3×3).

    ppdet's own class fixes the stages' widths at 64 … 512, and knows batch norm either frozen altogether or training;
    mmdetection's HTC runs it on its stored statistics while scale and shift go on learning.

    Args:
        depth: 18, 34, 50, 101 or 152.
        base_channels: width of the stem and of the first stage; 64 is the standard.
        groups, base_width: ResNeXt's cardinality and width.
        norm_eval: batch norm uses its stored statistics in training too. For pretrained weights; off from scratch.
        freeze_at: -1 trains all; 0 keeps the stem and the first stage; n keeps n more.
        norm_decay: weight decay of batch norm's scale and shift.
        dcn_v2_stages: indices (1 … 3) of stages with deformable convolutions v2, -1 for none.
    """

    __shared__ = ["norm_type"]

    def __init__(
        self,
        depth: int = 50,
        base_channels: int = 64,
        groups: int = 1,
        base_width: int = 64,
        norm_type: str = "bn",
        norm_eval: bool = True,
        freeze_at: int = 0,
        norm_decay: float = 1e-4,
        dcn_v2_stages: tuple[int, ...] = (-1,),
    ):
        nn.Layer.__init__(self)
        if depth not in ResNet_cfg:
            raise ValueError(f"HTCResNet: depth {depth}; it must be one of {sorted(ResNet_cfg)}")
        self._model_type = "ResNet" if groups == 1 else "ResNeXt"
        self.depth, self.variant, self.groups, self.norm_type = depth, "b", groups, norm_type
        self.return_idx, self.num_stages = [0, 1, 2, 3], 4
        shared = {"norm_type": norm_type, "norm_decay": norm_decay, "freeze_norm": False}
        names, block = NameAdapter(self), BottleNeck if depth >= 50 else BasicBlock
        self.conv1 = nn.Sequential((names.fix_c1_stage_name(), ConvNormLayer(3, base_channels, 7, 2, act="relu", **shared)))
        widths = [base_channels << i for i in range(4)]
        self._out_channels, self._out_strides = [w * block.expansion for w in widths], [4, 8, 16, 32]
        self.res_layers = []
        for i, inputs in enumerate([base_channels, *self._out_channels[:3]]):
            stage = Blocks(
                block,
                inputs,
                widths[i],
                count=ResNet_cfg[depth][i],
                name_adapter=names,
                stage_num=i + 2,
                variant="b",
                groups=groups,
                base_width=base_width,
                dcn_v2=i in tuple(dcn_v2_stages),
                **shared,
            )
            self.res_layers.append(self.add_sublayer(f"res{i + 2}", stage))
        if norm_eval:
            self._use_stored_statistics()
        if freeze_at >= 0:
            for part in [self.conv1, *self.res_layers[: freeze_at + 1]]:
                self._freeze_parameters(part)

    def _use_stored_statistics(self) -> None:
        for layer in self.sublayers():
            if isinstance(layer, nn.BatchNorm2D):
                layer._use_global_stats = True
