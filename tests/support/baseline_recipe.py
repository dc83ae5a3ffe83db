"""Weights of the baselines' reference models; numpy alone, since the generators run without Paddle."""

import numpy as np
from recipe import parameter

# What makes some twenty detections of a wide range of scores; the recipe's own models bring theirs along.
_BACKGROUND_BIAS = {"tiny_cascade": 16.0, "tiny_mask": 30.0}


def recipe_key(name: str) -> str:
    """The name that a tensor's values are made from: in a detector of one stage, the first stage's."""
    for head in ("roi_head.bbox_head.", "roi_head.mask_head."):
        if name.startswith(head) and not name[len(head)].isdigit():
            return name.replace(head, head + "0.", 1)
    return name


def parameter_of(name: str, shape: tuple[int, ...], model: str) -> np.ndarray:
    """`recipe.parameter`, for the baselines too."""
    if model not in _BACKGROUND_BIAS:
        return parameter(name, shape, model)
    value = parameter(recipe_key(name), shape, "tiny_b")
    if name.endswith("fc_cls.bias"):
        value[-1] += np.float32(_BACKGROUND_BIAS[model] - 18.5)
    return value
