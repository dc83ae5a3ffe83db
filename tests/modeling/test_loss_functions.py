"""Cross-entropy, whatever the logits, against float64; Paddle's own stops growing at 64 on a CPU."""

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.detection import FusedSemanticHead
from ppdet_ext.modeling.ops.loss_functions import cross_entropy

IGNORED = 255


def exact(logits: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Losses (n,) of logits (n, classes), and their sum's gradient, float64."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    own, counted = np.where(labels == IGNORED, 0, labels), labels != IGNORED
    total = np.exp(shifted).sum(axis=1)
    gradient = np.exp(shifted) / total[:, None]
    gradient[np.arange(len(own)), own] -= 1
    return (np.log(total) - shifted[np.arange(len(own)), own]) * counted, gradient * counted[:, None]


def value_and_gradient(function, logits: np.ndarray, *args) -> tuple[np.ndarray, np.ndarray]:
    x = paddle.to_tensor(logits, stop_gradient=False)
    out = function(x, *args)
    out.sum().backward()
    return out.numpy(), x.grad.numpy()


def random(seed: int, classes: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, 40)
    labels[rng.random(40) < 0.2] = IGNORED
    return (scale * rng.standard_normal((40, classes))).astype(np.float32), labels


@settings(max_examples=60)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 90), scale=st.sampled_from([0.01, 1.0, 20.0, 75.0, 1000.0]))
def test_is_logsumexp_minus_own_logit_and_its_gradient_softmax_minus_one_hot(seed, classes, scale):
    logits, labels = random(seed, classes, scale)
    loss, gradient = value_and_gradient(cross_entropy, logits, paddle.to_tensor(labels), -1, IGNORED)
    want = exact(logits, labels)
    np.testing.assert_allclose(loss, want[0], rtol=2e-6, atol=2e-6)
    np.testing.assert_allclose(gradient, want[1], rtol=0, atol=2e-6)


@pytest.mark.parametrize("gap", [63.9, 64.0, 64.1, 100.0, 1e4])
def test_grows_beyond_64(gap):
    loss, gradient = value_and_gradient(cross_entropy, np.array([[0, gap]], np.float32), paddle.to_tensor([0]))
    assert loss == pytest.approx(gap, rel=1e-6)
    assert gradient.tolist() == [[-1, 1]]


@settings(max_examples=20)
@given(seed=st.integers(0, 10_000), classes=st.integers(2, 90))
def test_ordinary_logits_keep_every_bit_of_paddles_loss(seed, classes):
    logits, labels = random(seed, classes, 5.0)
    labels = np.where(labels == IGNORED, 0, labels)
    ours = value_and_gradient(lambda *a: cross_entropy(*a).sum(), logits, paddle.to_tensor(labels))
    theirs = value_and_gradient(lambda *a: F.cross_entropy(*a, reduction="sum"), logits, paddle.to_tensor(labels))
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs))


def test_a_wrong_sample_among_ordinary_ones_changes_none_of_them():
    logits, labels = random(1, 5, 2.0)
    before = cross_entropy(paddle.to_tensor(logits), paddle.to_tensor(labels), ignore_index=IGNORED).numpy()
    logits[7] = [0, 0, 300, 0, 0]
    labels[7] = 1
    after = cross_entropy(paddle.to_tensor(logits), paddle.to_tensor(labels), ignore_index=IGNORED).numpy()
    assert after[7] == 300
    assert np.array_equal(np.delete(after, 7), np.delete(before, 7))


@pytest.mark.parametrize("scale", [1.0, 75.0])
def test_semantic_loss_with_ignored_cells(scale):
    rng = np.random.default_rng(0)
    logits = (scale * rng.standard_normal((2, 7, 6, 8))).astype(np.float32)
    target = rng.integers(0, 7, (2, 6, 8))
    target[:, ::2] = IGNORED
    rows, labels = logits.transpose(0, 2, 3, 1).reshape(-1, 7), target.ravel()
    want, slope = exact(rows, labels)
    head = FusedSemanticHead(8, 6, 7, 8, stride=1, loss_weight=0.2)
    loss, gradient = value_and_gradient(head.loss, logits, paddle.to_tensor(target.astype(np.uint8)))
    assert float(loss) == pytest.approx(0.2 * want.mean(), rel=1e-6)
    slope = slope.reshape(2, 6, 8, 7).transpose(0, 3, 1, 2) * 0.2 / len(labels)
    np.testing.assert_allclose(gradient, slope, rtol=0, atol=1e-8)
