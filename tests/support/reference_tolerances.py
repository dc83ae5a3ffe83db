"""How far from the reference our numbers may be: at least five times what its own float32 is from its float64."""

import re

# (tensors, what they are called in the table, largest absolute difference)
_RULES = [
    (r"C\d.*", "C2 … C5", 1e-4),
    (r"P\d.*", "P2 … P6", 1e-4),
    (r"semantic_logits", "semantic logits", 4e-4),
    (r"semantic_feat", "semantic feature", 4e-4),
    (r"rpn_cls_\d", "RPN objectness", 1e-4),
    (r"rpn_reg_\d", "RPN deltas", 1e-4),
    (r"rpn_pre_boxes", "proposals before NMS, px", 7e-3),  # of anchors up to 724 px long; float32 itself differs by 2.3e-3
    (r"rpn_post_boxes", "proposals, px", 2e-3),
    (r"s\d_(bbox_roifeat8|bbox_in8|semroifeat8)", "pooled box features", 4e-4),
    (r"s\d_rois", "stage {0} boxes in, px", 1e-3),
    (r"s\d_cls", "stage {0} class logits", 3e-3),
    (r"s\d_reg", "stage {0} deltas", 1e-4),
    (r"avg_cls", "mean class logits", 3e-3),
    (r"mask_(roifeat8|in8)", "pooled mask features", 4e-4),
    (r"mask_last_feat_\d.*", "mask features of stage {0}", 1.5e-3),
    (r"mask_logits_\d.*", "mask logits of stage {0}", 3e-3),
    (r"mask_prob_mean_lab", "mean mask probabilities", 3e-4),
    (r"det_boxes.*", "detected boxes, px", 1e-3),
    (r"det_scores\d?", "scores", 2e-4),
    (r"s\d_\w+_priors", "sampled boxes, px", 1e-3),
    (r"s\d_refined_img\d", "refined boxes, px", 1e-3),
    (r"s\d_bbox_targets", "box targets", 2e-4),
    (r"rpn_img\d_pos_targets", "anchor targets", 1e-5),
    (r"s\d_mask_preds.*", "mask logits in training", 3e-3),
]
LOSSES = 1e-5  # relative
# Gradients flip with single ReLUs and with the cells that deformable convolutions sample.
GRADIENTS = {"median": 1e-3, "norm": 1e-2, "projection": 5e-2}
_DEFORMABLE = {"median": 1e-3, "norm": 3e-2, "projection": 1.5e-1}


def rule(key: str, model: str) -> tuple[str, float]:
    """A tensor's name in the table and its tolerance."""
    for pattern, name, tolerance in _RULES:
        if re.fullmatch(pattern, key):
            stage = re.search(r"\d", key)
            return name.format(stage and int(stage[0]) + 1), tolerance * (6 if model == "full_c" else 1)
    raise KeyError(key)


def pixels(floor: int | None) -> int:
    """Of all masks of a case: a probability may lie on the threshold. `floor` is what the reference's precisions differ by."""
    return max(5, 5 * (floor or 0))


def gradients(model: str) -> dict[str, float]:
    """Relative tolerances of gradients: of the norms' median and worst, and of projections over norms."""
    return _DEFORMABLE if model == "tiny_c" else GRADIENTS


def trajectory(floor: float, spread: float) -> float:
    """Losses on the way of SGD, relative to the total, at one step.

    Rounding errors grow there. `floor` is what float32 and float64 differ by, `spread` what the reference's total changes by
    when the last bits of the image change.
    """
    return max(LOSSES, 5 * floor, 5 * spread)
