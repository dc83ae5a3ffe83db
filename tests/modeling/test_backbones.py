"""Residual networks: widths, deformable stages, what is frozen."""

import paddle
import pytest

from ppdet_ext.modeling.backbones import HTCResNet
from ppdet_ext.modeling.ops.deform_conv import DeformConv2D


def build(**settings) -> HTCResNet:
    """The structure alone; nothing is drawn."""
    with paddle.LazyGuard():
        return HTCResNet(**settings)


def kernels(backbone: HTCResNet) -> list[list[int]]:
    """Shape of the 3×3 convolution of each stage's first block."""
    return [stage.blocks[0].branch2b.conv.weight.shape for stage in backbone.res_layers]


@pytest.mark.parametrize(
    ("settings", "first", "last"),
    [
        ({"depth": 50}, [64, 64, 3, 3], [512, 512, 3, 3]),
        ({"depth": 101, "groups": 32, "base_width": 4}, [128, 4, 3, 3], [1024, 32, 3, 3]),
        ({"depth": 101, "groups": 64, "base_width": 4}, [256, 4, 3, 3], [2048, 32, 3, 3]),
        ({"depth": 50, "groups": 4, "base_width": 4, "base_channels": 16}, [16, 4, 3, 3], [128, 32, 3, 3]),
        ({"depth": 50, "base_channels": 16}, [16, 16, 3, 3], [128, 128, 3, 3]),
    ],
)
def test_widths_are_mmdetections(settings, first, last):
    backbone = build(**settings)
    assert (kernels(backbone)[0], kernels(backbone)[-1]) == (first, last)
    base = settings.get("base_channels", 64)
    assert [s.channels for s in backbone.out_shape] == [4 * base, 8 * base, 16 * base, 32 * base]
    assert [len(stage.blocks) for stage in backbone.res_layers] == [3, 4, 23 if settings["depth"] == 101 else 6, 3]


@pytest.mark.parametrize(("key", "channels"), [("dcn_v1_stages", 18), ("dcn_v2_stages", 27)])
def test_deformable_stages_are_whole_and_stride_two_is_among_them(key, channels):
    backbone = build(depth=50, base_channels=16, **{key: (1, 3)})
    kinds = [{type(block.branch2b.conv) for block in stage.blocks} for stage in backbone.res_layers]
    assert kinds == [{paddle.nn.Conv2D}, {DeformConv2D}, {paddle.nn.Conv2D}, {DeformConv2D}]
    first = backbone.res_layers[1].blocks[0].branch2b.conv
    assert first.stride == 2
    assert first.conv_offset.weight.shape == [channels, 32, 3, 3]


def test_parameter_count_of_the_largest_backbone():
    backbone = build(depth=101, groups=64, base_width=4, dcn_v1_stages=(1, 2, 3))
    names = list(backbone.state_dict())
    assert len(names) == 580  # mmdetection's without num_batches_tracked
    assert "res3.res3a.branch2b.conv.conv_offset.bias" in names
    assert "res4.res4b22.branch2b.conv.weight" in names


@pytest.mark.parametrize("settings", [{"depth": 50}, {"depth": 101, "groups": 32, "dcn_v1_stages": (1, 2, 3)}])
def test_the_reference_freezes_33_tensors(settings):
    frozen = [k for k, p in build(**settings).named_parameters() if p.stop_gradient and not k.endswith(("_mean", "_variance"))]
    assert len(frozen) == 33
    assert all(k.startswith(("conv1.", "res2.")) for k in frozen)


def test_every_parameter_decays():
    backbone = build(depth=50, dcn_v1_stages=(3,))
    norms = [layer for layer in backbone.sublayers() if isinstance(layer, paddle.nn.BatchNorm2D)]
    assert {layer.weight.regularizer._coeff for layer in norms} == {1e-4}
    assert {layer.bias.regularizer._coeff for layer in norms} == {1e-4}
    others = [p for k, p in backbone.named_parameters() if ".norm." not in k]
    assert {p.regularizer for p in others} == {None}, "they take the optimizer's"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"depth": 51}, "depth 51"),
        ({"depth": 18, "groups": 4}, "depth 18 has no grouped convolutions"),
        ({"dcn_v1_stages": (4,)}, r"deformable stages \[4\]"),
        ({"dcn_v1_stages": (1, 2), "dcn_v2_stages": (2, 3)}, r"stages \[2\] are in dcn_v1_stages and in dcn_v2_stages"),
    ],
)
def test_settings_that_do_not_go_together(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)
