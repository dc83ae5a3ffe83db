"""Inference against mmdetection's numbers, stage by stage, on the reference's own weights and images."""

import re
from unittest.mock import patch

import pytest
import reference_checks
from reference_checks import CASES, Check

from ppdet_ext.modeling.ops import winograd


def expect(checks: list[Check], keys: str) -> None:
    """All checks of the tensors that `keys` (a pattern) names are within tolerance, and there are some."""
    chosen = [c for c in checks if re.fullmatch(keys, c.key.removeprefix("whole "))]
    assert chosen, f"nothing is called {keys}"
    assert [c for c in chosen if not c.ok] == []


@pytest.fixture(scope="module", params=CASES, ids="-".join)
def checks(request):
    return reference_checks.inference(*request.param)


def has(checks: list[Check], part: str) -> bool:
    """Whether the fixture's name holds `part`."""
    return part in checks[0].fixture


def test_feature_maps(checks):
    if not has(checks, "padded"):
        expect(checks, r"C\d(_ch0_4)?")
    expect(checks, r"P\d(_ch0_8)?")


def test_semantic_branch(checks):
    if re.match(r"tiny_[ac]\b", checks[0].fixture):
        expect(checks, "semantic_logits")
        expect(checks, "semantic_feat")


def test_proposal_network(checks):
    if has(checks, "fixed"):
        return
    expect(checks, r"rpn_cls_\d")
    expect(checks, r"rpn_reg_\d")
    expect(checks, "rpn_pre_boxes")
    expect(checks, "rpn_post_boxes")


def test_pooled_regions(checks):
    if has(checks, "padded"):
        return  # of that image the reference's dump has no regions
    expect(checks, r"s\d_(bbox_in8|bbox_roifeat8|semroifeat8)")
    expect(checks, "mask_(in8|roifeat8)")


def test_box_stages(checks):
    for stage in range(1 if has(checks, "tiny_mask") else 3):
        for part in ("rois", "cls", "reg"):
            expect(checks, f"s{stage}_{part}")
    expect(checks, "avg_cls")


def test_mask_stages(checks):
    for stage in range(1 if has(checks, "tiny_mask") else 3):
        expect(checks, rf"mask_logits_{stage}.*")
    if re.match(r"tiny_[abc]\b", checks[0].fixture) and not has(checks, "padded"):
        expect(checks, r"mask_last_feat_\d.*")
    expect(checks, "mask_prob_mean_lab")


def test_detections_in_their_order(checks):
    for key in ("labels", "scores", "boxes", "boxes_netscale"):
        expect(checks, f"det_{key}")


def test_pasted_masks(checks):
    expect(checks, "masks_mean_packed")


def test_masks_of_the_last_stage_alone():
    assert reference_checks.last_stage_masks().ok


def test_two_images_of_different_sizes():
    checks = reference_checks.batch_of_two()
    assert len(checks) == 10
    assert [c for c in checks if not c.ok] == []


def test_an_image_on_which_nothing_is_found():
    assert [c for c in reference_checks.nothing_found() if not c.ok] == []


@pytest.mark.parametrize("name", ["tiny_a", "tiny_b"])
def test_fast_convolutions_for_regions_and_maps(name):
    # The tiny models are too narrow for them otherwise, and their maps too small.
    with patch.multiple(winograd, MIN_CHANNELS=1, MIN_CELLS=1):
        checks = reference_checks.inference(name, "rpn")
    expect(checks, ".*")
