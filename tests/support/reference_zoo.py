"""Every model that the reference's values are there for, with the reference's weights."""

from ppdet.modeling.necks.fpn import FPN
from recipe_weights import give_weights
from reference_model import reference_model, small_model

from ppdet_ext.modeling.backbones import HTCResNet
from ppdet_ext.modeling.detection import FusedSemanticHead, HTCRoIHead, HTCRPNHead, HybridTaskCascade

_PLAIN = {"interleaved": False, "mask_info_flow": False, "score_threshold": 0.05}
_ONE_STAGE = {
    "stage_ious": (0.5,),
    "stage_box_stds": ((0.1, 0.1, 0.2, 0.2),),
    "stage_loss_weights": (1.0,),
    "class_agnostic": False,
    "smooth_l1_beta": 0.0,
}
_ANY_ANCHOR = {"inside_only": False, "smooth_l1_beta": 0.0, "train_proposals": 1000}


def build(name: str) -> HybridTaskCascade:
    """`tiny_a`, `tiny_b`, `tiny_c`, `tiny_cascade` (Cascade Mask R-CNN), `tiny_mask` (Mask R-CNN), `full_a` or `full_c`."""
    if name in ("tiny_a", "tiny_b", "tiny_c"):
        return reference_model(name)
    if name == "tiny_cascade":
        model = small_model(False, low_quality_match=False, **_PLAIN)
    elif name == "tiny_mask":
        model = small_model(False, rpn=_ANY_ANCHOR, **_PLAIN, **_ONE_STAGE)
    else:
        model = _full_size(name)
    give_weights(model, name)
    return model


def _full_size(name: str) -> HybridTaskCascade:
    """ResNet-50, or ResNeXt-101 64×4d with deformable convolutions; 80 classes, 183 semantic labels."""
    grouped = {"groups": 64, "base_width": 4, "dcn_v1_stages": (1, 2, 3)}
    body = HTCResNet(50) if name == "full_a" else HTCResNet(101, **grouped)
    shapes = body.out_shape
    neck = FPN([s.channels for s in shapes], 256, [1 / s.stride for s in shapes], extra_stage=1, use_c5=False)
    head = HTCRoIHead(semantic_head=FusedSemanticHead(num_semantic_classes=183))
    return HybridTaskCascade(body, neck, HTCRPNHead(), head)
