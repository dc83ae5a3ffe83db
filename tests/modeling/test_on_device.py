"""What a GPU runs, run on the CPU: it finds the same, and the host waits once."""

import numpy as np
import paddle
import pytest
from host_reads import counted_reads
from hypothesis import given, settings
from hypothesis import strategies as st
from view_cases import model, network_batch, network_inputs

from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.detection import on_device
from ppdet_ext.modeling.ops.boxes import nms, select_objects
from ppdet_ext.modeling.ops.seam import plain_operators
from ppdet_ext.modeling.ops.tensor_nms import keep_best
from ppdet_ext.structures import TestSettings


def sorted_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner, size = rng.uniform(0, 60, (count, 2)), rng.uniform(0, 60, (count, 2)).round(-1)
    return np.concatenate([corner, corner + size], 1).astype(np.float32)


@settings(max_examples=40)
@given(seed=st.integers(0, 9999), count=st.integers(1, 80), threshold=st.sampled_from([0.1, 0.3, 0.5, 0.7]))
def test_nms_is_the_greedy_one(seed, count, threshold):
    rng = np.random.default_rng(seed)
    groups = [sorted_boxes(rng, count) for _ in range(3)]
    valid = rng.random((3, count)) < 0.8
    kept, done = keep_best(paddle.to_tensor(np.stack(groups)), paddle.to_tensor(valid), threshold, rounds=count + 1)
    assert bool(done)
    for boxes, real, ours in zip(groups, valid, kept.numpy()):
        rows = np.flatnonzero(real)
        wanted = rows[nms(boxes[rows], -np.arange(len(rows), dtype=np.float32), threshold)]
        assert np.array_equal(np.flatnonzero(ours), np.sort(wanted))


def test_a_chain_longer_than_the_rounds_is_told_of():
    start = np.arange(0, 100, 4, dtype=np.float32)
    chain = np.stack([start, 0 * start, start + 10, 0 * start + 10], axis=1)
    boxes, valid = paddle.to_tensor(chain[None]), paddle.ones([1, len(chain)], "bool")
    assert not bool(keep_best(boxes, valid, 0.3, rounds=8)[1])
    kept, done = keep_best(boxes, valid, 0.3, rounds=32)
    assert bool(done)
    assert np.flatnonzero(kept.numpy()).tolist() == list(range(0, len(chain), 2))


@settings(max_examples=30)
@given(seed=st.integers(0, 9999), count=st.integers(1, 60), own=st.booleans(), most=st.sampled_from([3, 100]))
def test_objects_of_an_image(seed, count, own, most):
    rng = np.random.default_rng(seed)
    boxes = sorted_boxes(rng, count * 3).reshape(count, 3, 4) if own else sorted_boxes(rng, count)
    scores = rng.choice([0.1, 0.4, 0.5, 0.9], (count, 3)).astype(np.float32)  # with ties
    chosen = TestSettings(score_threshold=0.3, max_detections=most)
    *found, done = on_device.select(paddle.to_tensor(boxes), paddle.to_tensor(scores), chosen)
    assert bool(done)
    real = found[1].numpy() > on_device.NO_SCORE
    for ours, theirs in zip(found, select_objects(boxes, scores, chosen), strict=True):
        np.testing.assert_array_equal(ours.numpy()[real], theirs)


@pytest.mark.parametrize("name", ["tiny_a", "tiny_b", "tiny_c", "tiny_mask"])
def test_finds_what_a_cpu_finds_with_one_read(name):
    detector = model(name)
    one = network_batch(*network_inputs([(150, 220), (128, 180)]))
    wanted = detector.candidates(one, detector.settings)
    with plain_operators(), counted_reads() as reads:
        found = detector.candidates(one, detector.settings)
    assert len(reads) == 1, reads
    for ours, theirs in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_allclose(ours.boxes, theirs.boxes, atol=1e-2)
        np.testing.assert_allclose(ours.scores, theirs.scores, atol=1e-3)
        np.testing.assert_allclose(ours.probs, theirs.probs, atol=1e-3)


def test_falls_back_where_nms_does_not_come_to_its_end(monkeypatch):
    detector = model("tiny_b")
    one = network_batch(*network_inputs([(150, 220)]))
    wanted = detector.candidates(one, detector.settings)[0]
    monkeypatch.setattr(on_device, "PAIRS", 8)
    with plain_operators():
        found = detector.candidates(one, detector.settings)[0]
    np.testing.assert_array_equal(found.labels, wanted.labels)
    np.testing.assert_allclose(found.scores, wanted.scores, atol=1e-3)


@pytest.mark.parametrize("part", ["rpn_head.deltas.bias", "rpn_head.objectness.bias", "regress.bias", "classify.bias"])
def test_divergence_is_our_error(part):
    detector = model("tiny_b")
    poisoned = next(p for k, p in detector.named_parameters() if k.endswith(part))
    poisoned.set_value(np.full(poisoned.shape, np.nan, np.float32))
    with plain_operators(), pytest.raises(DivergenceError):
        detector.candidates(network_batch(*network_inputs([(96, 128)])), detector.settings)


def test_an_image_without_objects():
    detector = model("tiny_a")
    blank = network_batch(np.zeros((1, 3, 64, 96), np.float32), np.array([[64, 96]], np.float32))
    with plain_operators():
        (found,) = detector.candidates(blank, detector.settings)
    assert len(found) == 0
