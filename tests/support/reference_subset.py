"""Which part of a large reference tensor the repository keeps; numpy alone, since the generators run without Paddle."""

import re

import numpy as np

_MAPS = re.compile(r"([CP]\d|semantic_(logits|feat)|rpn_(cls|reg)_\d)(_ch\w+)?$")
_REGIONS = re.compile(r".*(roifeat8|in8|_first4|_first8_lab|mask_logits_\d_lab|mask_prob_mean_lab)$")
_ROI_TABLES = re.compile(r"(s\d_(rois|cls|reg)|avg_cls)$")
_DROPPED = re.compile(
    r"(image|masks_shape|rpn_pre_scores|rpn_pre_level|mask_rois|mask_logits_\d|mask_last_feat_\d|s\d_mask_preds)$"
)
_UNSTABLE = re.compile(r"(s\d_|avg_cls|rpn_p)")


def sample(values: np.ndarray, count: int) -> np.ndarray:
    """About `count` values of a tensor, evenly spread over its C order; all of a small one."""
    step = -(-values.size // count)
    return values.ravel()[:: step | 1]


def roi_rows(count: int) -> np.ndarray:
    """Rows kept of a table with one row per region: the first hundred, then every seventh."""
    return np.concatenate([np.arange(min(count, 100)), np.arange(100, count, 7)])


def thin(key: str, values: np.ndarray, model: str) -> np.ndarray | None:
    """The part that is kept of the tensor `key` of `model` ("tiny_a", …), or None where nothing is."""
    if _DROPPED.fullmatch(key):
        return None
    if _MAPS.fullmatch(key) or _REGIONS.fullmatch(key):
        return sample(values, 200 if model.startswith("full") else 3000)
    if _ROI_TABLES.fullmatch(key):
        return values[roi_rows(len(values))]
    if key == "rpn_pre_boxes":
        return values[::5]
    return values


def thin_all(arrays: dict[str, np.ndarray], model: str) -> dict[str, np.ndarray]:
    """`thin` of every tensor that has something left."""
    kept = {key: thin(key, np.asarray(value), model) for key, value in arrays.items()}
    return {key: value for key, value in kept.items() if value is not None}


def floors(case: str, differences: dict[str, float]) -> dict[str, float]:
    """What float32 differs from float64, to three digits; without tables whose rows come in no stable order."""
    own = case in ("infer_rpn", "infer_padded")
    return {k: float(f"{v:.2e}") for k, v in differences.items() if not (own and _UNSTABLE.match(k))}


def unmatched(ours: np.ndarray, theirs: np.ndarray) -> float:
    """Distance in px of that box of theirs that is farthest from all of ours; those without extent are left out."""
    real = (theirs[:, 2] > theirs[:, 0] + 1e-3) & (theirs[:, 3] > theirs[:, 1] + 1e-3)
    return max(float(np.abs(ours - box).max(axis=1).min()) for box in theirs[real])
