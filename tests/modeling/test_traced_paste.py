"""Masks pasted by a graph are those that the runtime pastes."""

import numpy as np
import paddle
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.ops.traced_paste import paste
from ppdet_ext.structures.paste import paste_masks


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 60), st.sampled_from([4, 7, 28]), st.integers(0, 5))
@settings(max_examples=15)
def test_pasted_alike(seed, height, width, cells, count):
    rng = np.random.default_rng(seed)
    probs = rng.uniform(0, 1, (count, cells, cells)).astype(np.float32)
    # Beyond the image, tiny, and now and then without extent.
    corner = rng.uniform(-10, 60, (count, 2))
    boxes = np.concatenate([corner, corner + rng.choice([0, 0.5, 9, 50], (count, 2))], axis=1).astype(np.float32)
    found = paste(*map(paddle.to_tensor, (probs, boxes)), paddle.zeros([1, 3, height, width]), 0.5).numpy()
    expected = np.array([mask.to_bitmap() for mask in paste_masks(probs, boxes, height, width)]).reshape(-1, height, width)
    assert found.dtype == np.uint8
    # A pixel at the threshold may fall on either side.
    assert (found != expected).sum() <= 1
