"""Names and layouts: every tensor of ours has its counterpart in mmdetection's model, and the other way round."""

import numpy as np
import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.weights.foreign.mmdet import canonical, from_mmdet, mmdet_name, mmdet_shapes, name_table
from tests.weights.foreign.reference_shapes import our_shapes, reference_shapes

REFERENCE = reference_shapes()


@pytest.mark.parametrize("config", REFERENCE)
def test_a_whole_model_has_mmdetections_names_and_shapes(config: str) -> None:
    expected = {name: shape for name, shape in REFERENCE[config].items() if not name.endswith("num_batches_tracked")}
    assert mmdet_shapes(our_shapes(config)) == expected


@pytest.mark.parametrize(("ours", "theirs"), [
    ("backbone.res4.res4b22.branch2c.norm._variance", "backbone.layer3.22.bn3.running_var"),
    ("backbone.res2.res2a.short.conv.weight", "backbone.layer1.0.downsample.0.weight"),
    ("backbone.res3.res3d.branch2b.conv.conv_offset.bias", "backbone.layer2.3.conv2.conv_offset.bias"),
    ("neck.fpn_inner_res5_sum.weight", "neck.lateral_convs.3.conv.weight"),
    ("roi_head.box_heads.1.classify.bias", "roi_head.bbox_head.1.fc_cls.bias"),
])  # fmt: skip
def test_names(ours: str, theirs: str) -> None:
    assert mmdet_name(ours) == theirs


def test_the_heads_of_a_single_stage_have_no_number() -> None:
    assert mmdet_name("roi_head.mask_heads.0.convs.3.bias", True) == "roi_head.mask_head.convs.3.conv.bias"
    heads = [f"roi_head.box_heads.{stage}.fcs.0.weight" for stage in range(2)]
    assert name_table(heads[:1]) == {heads[0]: "roi_head.bbox_head.shared_fcs.0.weight"}
    assert name_table(heads)[heads[0]] == "roi_head.bbox_head.0.shared_fcs.0.weight"


def test_a_part_that_mmdetection_has_not_is_named() -> None:
    with pytest.raises(UserError, match=r"has roi_head\.own\.weight, for which mmdetection has no counterpart"):
        name_table(["roi_head.own.weight"])


def test_old_spellings_are_read() -> None:
    offset = "backbone.layer2.0.conv2.conv_offset.weight"
    assert canonical("module.backbone.layer2.0.conv2_offset.weight") == offset
    assert canonical(offset) == offset


def test_only_matrices_are_transposed() -> None:
    matrix, kernel = np.arange(6).reshape(2, 3), np.zeros((2, 3, 1, 1))
    assert from_mmdet("w", matrix).tolist() == matrix.T.tolist()
    assert from_mmdet("w", kernel) is kernel
