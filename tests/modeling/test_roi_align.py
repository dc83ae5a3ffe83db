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


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), size=st.sampled_from([1, 7, 14]), merge=st.sampled_from([1, 2]))
def test_sparse_equals_paddle(seed, size, merge):
    rois = random_rois(np.random.default_rng(seed), 20)
    p = pyramid()
    ours, theirs = p._pool_sparse(rois, size, merge), p._pool_native(rois, size, merge)
    np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-4)


@settings(max_examples=25)
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


def test_no_roi():
    assert pyramid().pool(np.zeros((0, 5), np.float32), 7).shape == [0, 3, 7, 7]


@pytest.fixture(params=["sparse", "native"])
def path(request, monkeypatch):
    """Either way of pooling, as `pool` takes it on a CPU and elsewhere."""
    monkeypatch.setattr(Pyramid, "_pool_sparse", getattr(Pyramid, f"_pool_{request.param}"))


EMPTY = np.array([[0, 9, 9, 9, 9], [1, 9, 5, 9, 30], [1, 3, 8, 20, 8], [0, 20, 20, 10, 25], [0, 200, 60, 900, 60]], np.float32)


def pooled(pool, rois: np.ndarray, merge: int, upstream: np.ndarray) -> list[np.ndarray]:
    """What `pool` makes of a pyramid, and the gradient of every level."""
    p = pyramid()
    out = pool(p, rois, 7, merge)
    out.backward(paddle.to_tensor(upstream))
    return [out.numpy(), *(np.zeros(m.shape) if m.grad is None else m.grad.numpy() for m in p.maps)]


@pytest.mark.parametrize("merge", [1, 2])
def test_regions_without_extent_give_zeros_and_no_gradient(path, merge):
    rng = np.random.default_rng(0)
    real = random_rois(rng, 6)
    rois = np.concatenate([EMPTY[:2], real[:3], EMPTY[2:], real[3:]])
    rows = np.array([2, 3, 4, 8, 9, 10])
    upstream = rng.standard_normal((len(rois), 3, 7, 7)).astype(np.float32)
    out, *gradients = pooled(Pyramid.pool, rois, merge, upstream)
    alone, *theirs = pooled(Pyramid.pool, real, merge, upstream[rows])
    np.testing.assert_allclose(out[rows], alone, atol=1e-6)
    assert (np.delete(out, rows, axis=0) == 0).all()
    assert max(np.abs(g).max() for g in gradients) > 0.1
    for ours, wanted in zip(gradients, theirs):
        np.testing.assert_allclose(ours, wanted, atol=1e-5)


def test_only_regions_without_extent(path):
    out = pyramid().pool(EMPTY, 7)
    assert out.shape == [5, 3, 7, 7]
    assert float(out.abs().max()) == 0


@pytest.mark.parametrize("merge", [1, 2])
def test_both_paths_have_the_same_gradient_inside_the_image(merge):
    # Paddle's own CPU backward misses cells at the image's border, see `test_gradient_is_the_adjoint`.
    rng = np.random.default_rng(3)
    corner = rng.uniform(8, [120, 60], (40, 2))
    rois = np.concatenate([rng.integers(0, 2, (40, 1)), corner, corner + rng.uniform(4, 60, (40, 2))], 1).astype(np.float32)
    upstream = rng.standard_normal((40, 3, 7, 7)).astype(np.float32)
    both = [pooled(way, rois, merge, upstream) for way in (Pyramid._pool_sparse, Pyramid._pool_native)]
    for ours, theirs in zip(*both):
        np.testing.assert_allclose(ours, theirs, atol=1e-4)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_not_finite_is_our_error(bad):
    with pytest.raises(DivergenceError):
        pyramid().pool(np.array([[0, 1, 2, bad, 9]], np.float32), 7)


def test_levels():
    side = np.array([1, 111, 113, 223, 225, 447, 449, 2000], np.float32)
    boxes = np.stack([np.zeros(8), np.zeros(8), side, side], axis=1).astype(np.float32)
    assert pyramid().level_of(boxes).tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


@settings(max_examples=50)
@given(start=st.floats(0, 20), size=st.floats(0.1, 30), bins=st.integers(1, 14))
def test_weights_of_a_region_inside_sum_to_one(start, size, bins):
    samples = np.array([int(np.ceil(size / bins))])
    first, weights = bin_weights(np.array([start]), np.array([size]), bins, samples, 64)
    np.testing.assert_allclose(weights.sum(-1), 1, atol=1e-5)
    centre = ((first[..., None] + np.arange(weights.shape[-1])) * weights).sum(-1)[0]
    np.testing.assert_allclose(centre, start + (np.arange(bins) + 0.5) * size / bins, atol=1e-2)
