"""The sparse RoIAlign against Paddle's operator, and the assignment of regions to levels."""

import numpy as np
import paddle
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.ops.bilinear import bin_weights
from ppdet_ext.modeling.ops.roi_align import Pyramid

STRIDES = [4, 8, 16, 32]


def pyramid(batch: int = 2) -> Pyramid:
    paddle.seed(1)
    maps = [paddle.randn([batch, 3, 128 // s, 256 // s]) for s in STRIDES]
    for m in maps:
        m.stop_gradient = False
    return Pyramid(maps, STRIDES)


def random_rois(rng: np.random.Generator, count: int, batch: int = 2) -> np.ndarray:
    size = np.exp(rng.uniform(np.log(0.5), np.log(300), (count, 2)))
    corner = rng.uniform(-60, [260, 130], (count, 2))
    image = rng.integers(0, batch, (count, 1))
    return np.concatenate([image, corner, corner + size], axis=1).astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([1, 7, 14]), merge=st.sampled_from([1, 2]))
def test_sparse_equals_paddle(seed, size, merge):
    rois = random_rois(np.random.default_rng(seed), 20)
    p = pyramid()
    ours, theirs = p._pool_sparse(rois, size, merge), p._pool_native(rois, size, merge)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), merge=st.sampled_from([1, 2]))
def test_gradient_is_the_adjoint(seed, merge):
    # Pooling is linear, so <pool(x), g> = <x, gradient(g)>. Paddle's own CPU backward misses this at the image's border.
    rng = np.random.default_rng(seed)
    p = pyramid()
    out = p.pool(random_rois(rng, 30), 7, merge)
    upstream = rng.standard_normal(out.shape).astype(np.float32)
    out.backward(paddle.to_tensor(upstream))
    forward = (out.numpy().astype(np.float64) * upstream).sum()
    backward = sum((m.numpy().astype(np.float64) * m.grad.numpy()).sum() for m in p.maps)
    assert forward == pytest.approx(backward, rel=1e-4, abs=1e-2)


def test_no_roi_and_empty_roi():
    p = pyramid()
    assert p.pool(np.zeros((0, 5), np.float32), 7).shape == [0, 3, 7, 7]
    assert float(p.pool(np.array([[0, 9, 9, 9, 9]], np.float32), 7).abs().max()) == 0


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_our_error(bad):
    with pytest.raises(DivergenceError):
        pyramid().pool(np.array([[0, 1, 2, bad, 9]], np.float32), 7)


def test_levels():
    side = np.array([1, 111, 113, 223, 225, 447, 449, 2000], np.float32)
    boxes = np.stack([np.zeros(8), np.zeros(8), side, side], axis=1).astype(np.float32)
    assert pyramid().level_of(boxes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@settings(max_examples=50, deadline=None)
@given(start=st.floats(0, 20), size=st.floats(0.1, 30), bins=st.integers(1, 14))
def test_weights_of_a_region_inside_sum_to_one(start, size, bins):
    samples = np.array([int(np.ceil(size / bins))])
    first, weights = bin_weights(np.array([start]), np.array([size]), bins, samples, 64)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    centre = ((first[..., None] + np.arange(weights.shape[-1])) * weights).sum(-1)[0]
    np.testing.assert_allclose(centre, start + (np.arange(bins) + 0.5) * size / bins, atol=1e-2)
