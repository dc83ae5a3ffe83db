"""Pasted masks against mmdetection's golden samples and against a plain grid_sample."""

import tracemalloc
from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.structures import Rle
from ppdet_ext.structures.paste import paste_masks, sample_weights


def soft_paste(prob: np.ndarray, box: np.ndarray, height: int, width: int) -> np.ndarray:
    """The sampled probabilities on the whole canvas, by the weights under test."""
    y0, rows = sample_weights(box[1], box[3], prob.shape[0], height)
    x0, cols = sample_weights(box[0], box[2], prob.shape[1], width)
    canvas = np.zeros((height, width), np.float32)
    canvas[y0 : y0 + len(rows), x0 : x0 + len(cols)] = rows @ prob @ cols.T
    return canvas


def grid_paste(probs: np.ndarray, boxes: np.ndarray, height: int, width: int) -> np.ndarray:
    """(n, height, width) as ppdet's paste_mask samples them."""
    x0, y0, x1, y1 = np.split(boxes, 4, axis=1)
    gy = (np.arange(height, dtype=np.float32) + 0.5 - y0) / (y1 - y0) * 2 - 1
    gx = (np.arange(width, dtype=np.float32) + 0.5 - x0) / (x1 - x0) * 2 - 1
    shape = len(boxes), height, width
    grid = np.stack([np.broadcast_to(gx[:, None], shape), np.broadcast_to(gy[:, :, None], shape)], axis=3)
    sampled = F.grid_sample(paddle.to_tensor(probs[:, None]), paddle.to_tensor(grid), align_corners=False)
    return sampled.numpy()[:, 0]


def disagreements(masks: list[Rle], soft: np.ndarray, threshold: float = 0.5, tolerance: float = 2e-5) -> int:
    """Pixels that differ although their sample is not within float32 rounding of the threshold."""
    pixels = np.stack([mask.to_bitmap() for mask in masks]).astype(bool)
    return int(((pixels != (soft >= threshold)) & (np.abs(soft - threshold) > tolerance)).sum())


@pytest.fixture(scope="module")
def golden(root: Path) -> dict:
    with np.load(root / "tests/fixtures/paste_golden.npz") as arrays:
        return dict(arrays)


def test_samples_equal_the_reference(golden: dict) -> None:
    for prob, box, expected in zip(golden["paste_masks"][:, 0], golden["paste_boxes"], golden["paste_soft"]):
        assert np.abs(soft_paste(prob, box, *expected.shape) - expected).max() < 1e-5


@pytest.mark.parametrize("budget", [64 << 20, 4000, 1])
@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.6])
def test_masks_equal_the_reference_whatever_the_budget(golden: dict, threshold: float, budget: int) -> None:
    soft = golden["paste_soft"]
    probs, boxes = golden["paste_masks"][:, 0], golden["paste_boxes"]
    masks = paste_masks(probs, boxes, *soft.shape[1:], threshold, budget)
    assert all(mask.size == soft.shape[1:] for mask in masks)
    assert disagreements(masks, soft, threshold) == 0
    assert sum(mask.area for mask in masks) > 500


@settings(max_examples=60)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 70),
    st.integers(1, 70),
    st.sampled_from([1, 2, 7, 28]),
    st.sampled_from([0.05, 0.5, 0.9]),
)
def test_any_box_is_like_grid_sample(seed: int, height: int, width: int, size: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    probs = rng.random((4, size, size), np.float32)
    centre, extent = rng.uniform(-20, 90, (4, 2)), rng.uniform(0.05, 120, (4, 2))
    boxes = np.concatenate([centre - extent / 2, centre + extent / 2], axis=1).astype(np.float32)
    soft = grid_paste(probs, boxes, height, width)
    # A tiny box magnifies the rounding of its coordinates.
    assert disagreements(paste_masks(probs, boxes, height, width, threshold), soft, threshold, 1e-3) == 0


def test_a_certain_mask_fills_its_box() -> None:
    boxes = np.array([[3, 2, 9, 7], [-5, -5, 4, 4], [8, 8, 30, 30]], np.float32)
    masks = paste_masks(np.ones((3, 28, 28), np.float32), boxes, 20, 12)
    assert [mask.box for mask in masks] == [(3, 2, 9, 7), (0, 0, 4, 4), (8, 8, 12, 20)]
    assert masks[0].area == 30


@pytest.mark.parametrize("box", [[3, 3, 3, 9], [9, 3, 3, 9], [30, 3, 40, 9], [-40, 3, -30, 9], [0, 50, 9, 60]])
def test_boxes_without_pixels_give_empty_masks(box: list[float]) -> None:
    masks = paste_masks(np.ones((1, 28, 28), np.float32), np.array([box], np.float32), 20, 12)
    assert masks == [Rle.empty(20, 12)]


def test_no_masks() -> None:
    assert paste_masks(np.zeros((0, 28, 28), np.float32), np.zeros((0, 4), np.float32), 20, 12) == []


def test_wrong_use_is_refused() -> None:
    probs, boxes = np.ones((2, 28, 28), np.float32), np.ones((2, 4), np.float32)
    for wrong in ((probs, boxes[:1]), (probs[0], boxes), (probs, boxes * np.nan), (probs, boxes * np.inf)):
        with pytest.raises(ValueError):
            paste_masks(*wrong, 20, 12)
    for threshold in (0.0, 1.5):
        with pytest.raises(ValueError):
            paste_masks(probs, boxes, 20, 12, threshold)


def test_working_memory_follows_the_budget_not_the_image() -> None:
    size, budget = (3000, 2000), 2 << 20
    probs, boxes = np.full((3, 28, 28), 0.9, np.float32), np.tile(np.array([0, 0, 2000, 3000], np.float32), (3, 1))
    expected = paste_masks(probs, boxes, *size)
    tracemalloc.start()
    masks = paste_masks(probs, boxes, *size, budget_bytes=budget)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Beside the strips stand the weights of both axes, 28 values a row and column.
    assert peak < budget + 8 * 28 * 4 * sum(size)
    assert masks == expected
