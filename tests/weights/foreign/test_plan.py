"""What becomes of each tensor of a file: mapped, left out on purpose, or an error that lists it."""

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.weights.foreign.plan import Plan, make_plan
from ppdet_ext.weights.foreign.report import demand_exact, format_plan
from tests.weights.foreign.reference_shapes import R50, X101_DCN, our_shapes, reference_shapes

FILE = "w.pth"
REFERENCE = reference_shapes()
MASK_RCNN = "mask_rcnn/mask_rcnn_r50_fpn_1x_coco"


@pytest.fixture(scope="module")
def steel() -> dict[str, list[int]]:
    """The HTC R50 of four classes, semantic branch of five labels."""
    return our_shapes("htc/steel", "seed=0")


@pytest.fixture(scope="module")
def model() -> dict[str, list[int]]:
    """The HTC R50 of COCO."""
    return our_shapes(R50)


def refusal(plan: Plan, drop: bool = False) -> str:
    with pytest.raises(UserError, match=r"w\.pth") as caught:
        demand_exact(FILE, plan, drop, "Set num_classes.")
    return str(caught.value)


@pytest.mark.parametrize(("config", "tensors", "matrices"), [(R50, 426, 12), (X101_DCN, 792, 12), (MASK_RCNN, 360, 4)])
def test_every_tensor_of_a_published_model_is_accounted_for(config: str, tensors: int, matrices: int) -> None:
    shapes = our_shapes(config)
    plan = make_plan(FILE, REFERENCE[config], shapes)
    assert len(plan.mapped) + len(plan.skipped) == len(REFERENCE[config]) == tensors
    assert list(plan.mapped) == list(shapes)
    assert len(plan.transposed) == matrices
    demand_exact(FILE, plan, False, "")
    assert format_plan(plan).endswith("missing 0, left over 0")


def test_a_missing_and_a_left_over_tensor_are_listed(model: dict[str, list[int]]) -> None:
    file = dict(REFERENCE[R50])
    file["neck.extra.weight"] = file.pop("neck.fpn_convs.1.conv.weight")
    text = refusal(make_plan(FILE, file, model), drop=True)
    assert "372 tensors match, 2 differ" in text
    assert "neck.fpn_res3_sum.weight: missing in the file" in text
    assert "neck.extra.weight: not in the model" in text


def test_a_shape_that_classes_do_not_explain_is_never_dropped(model: dict[str, list[int]]) -> None:
    file = {**REFERENCE[R50], "roi_head.bbox_head.1.fc_cls.weight": (81, 512)}
    text = refusal(make_plan(FILE, file, model), drop=True)
    assert "roi_head.bbox_head.1.fc_cls.weight is [81, 512] in the file, [81, 1024] in the model" in text


def test_another_number_of_classes_is_said_and_dropped_only_if_asked_for(steel: dict[str, list[int]]) -> None:
    plan = make_plan(FILE, REFERENCE[R50], steel)
    assert plan.classes == (80, 4)
    heads = [
        f"roi_head.{head}s.{i}.{part}" for head, part in (("box_head", "classify"), ("mask_head", "logits")) for i in range(3)
    ]
    expected = {f"{head}.{kind}" for head in [*heads, "roi_head.semantic_head.logits"] for kind in ("weight", "bias")}
    assert set(plan.dropped) == expected
    demand_exact(FILE, plan, True, "")
    assert "it has 80 classes, the configured model 4. Set num_classes." in refusal(plan)
    assert "… and 4 more" in refusal(plan)
    text = format_plan(plan)
    assert "dropped 14 for another number of classes" in text
    assert all(name in text for name in expected)


def test_boxes_of_each_class_are_dropped_with_the_classes() -> None:
    plan = make_plan(FILE, REFERENCE[MASK_RCNN], our_shapes(MASK_RCNN, "num_classes=3"))
    assert {name.rsplit(".", 1)[0] for name in plan.dropped} == {
        "roi_head.box_heads.0.classify", "roi_head.box_heads.0.regress", "roi_head.mask_heads.0.logits"}  # fmt: skip


def test_semantic_classes_alone_may_differ() -> None:
    plan = make_plan(FILE, REFERENCE[R50], our_shapes(R50, "FusedSemanticHead.num_semantic_classes=81"))
    assert list(plan.dropped) == ["roi_head.semantic_head.logits.weight", "roi_head.semantic_head.logits.bias"]
    assert "the semantic branch has another number of classes" in refusal(plan)


@pytest.mark.parametrize("name", [
    "bbox_head.0.fc_cls.weight", "bbox_head.fc_cls.bias", "mask_head.2.conv_logits.weight", "semantic_head.conv_logits.weight",
])  # fmt: skip
def test_mmdetection_1_is_refused_by_name(name: str, model: dict[str, list[int]]) -> None:
    with pytest.raises(UserError, match=r"w\.pth is of mmdetection 1\.x.*upgrade_model_version"):
        make_plan(FILE, {name: (81, 1024), "backbone.conv1.weight": (64, 3, 7, 7)}, model)


@pytest.mark.parametrize(("prefix", "classifier"), [("", "fc"), ("backbone.", "head.fc")])
def test_an_image_classifiers_backbone_is_recognised(prefix: str, classifier: str, model: dict[str, list[int]]) -> None:
    backbone = {name: shape for name, shape in REFERENCE[R50].items() if name.startswith("backbone.")}
    file = {prefix + name.removeprefix("backbone."): shape for name, shape in backbone.items()}
    plan = make_plan(FILE, {**file, f"{classifier}.weight": (1000, 2048), f"{classifier}.bias": (1000,)}, model)
    assert plan.backbone_only
    assert list(plan.mapped) == [name for name in model if name.startswith("backbone.")]
    assert plan.skipped[f"{classifier}.bias"] == "the image classifier's last layer"
    assert (plan.missing, plan.left_over) == ([], [])
    assert "holds a backbone alone; use it by -o pretrain_weights=w.pth" in refusal(plan)


def test_a_plain_backbone_serves_a_deformable_one() -> None:
    shapes = our_shapes(X101_DCN)
    file = {name.removeprefix("backbone."): shape for name, shape in REFERENCE[X101_DCN].items()
            if name.startswith("backbone.") and "conv_offset" not in name}  # fmt: skip
    plan = make_plan(FILE, file, shapes)
    assert plan.missing == []
    assert sum("conv_offset" in name for name in plan.fresh) == 60


def test_mmdetection_2s_averaged_copies_are_skipped(model: dict[str, list[int]]) -> None:
    plan = make_plan(FILE, {**REFERENCE[R50], "ema_backbone_conv1_weight": (64, 3, 7, 7)}, model)
    demand_exact(FILE, plan, False, "")
    assert "averaged" in plan.skipped["ema_backbone_conv1_weight"]
