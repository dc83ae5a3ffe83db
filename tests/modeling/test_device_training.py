"""Training as a GPU runs it, on the CPU: the same losses and gradients, and three reads."""

import numpy as np
import paddle
import pytest
from host_reads import counted_reads
from hypothesis import given, settings
from hypothesis import strategies as st
from recipe_weights import give_weights
from reference_model import cascade_mask_rcnn, mask_rcnn, random_batch, reference_model

from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.detection import device_training, on_device
from ppdet_ext.modeling.detection.assignment import IoUAssigner, RoISampler, keys_of
from ppdet_ext.modeling.detection.tensor_assignment import assign, sample
from ppdet_ext.modeling.ops.roi_align import Pyramid
from ppdet_ext.modeling.ops.seam import plain_operators


def some_boxes(rng: np.random.Generator, count: int) -> np.ndarray:
    corner, size = rng.integers(0, 6, (count, 2)) * 10, rng.integers(1, 5, (count, 2)) * 10  # coarse: many ties
    return np.concatenate([corner, corner + size], 1).astype(np.float32)


@settings(max_examples=50)
@given(seed=st.integers(0, 9999), count=st.integers(1, 60), objects=st.integers(0, 6), low=st.booleans(), least=st.floats(0, 1))
def test_assignment_is_that_of_numpy(seed, count, objects, low, least):
    rng = np.random.default_rng(seed)
    boxes, own, known = some_boxes(rng, count), some_boxes(rng, objects), rng.random(count) < 0.8
    assigner = IoUAssigner(0.7, 0.4, least, low)
    wanted = np.full(count, -2)
    wanted[known] = assigner(boxes[known], own)
    assert np.array_equal(assign(assigner, *map(paddle.to_tensor, (boxes, own, known))).numpy(), wanted)


@settings(max_examples=50)
@given(
    seed=st.integers(0, 9999), count=st.integers(1, 60), objects=st.integers(0, 6), most=st.integers(1, 40), keyed=st.booleans()
)
def test_sample_is_that_of_numpy(seed, count, objects, most, keyed):
    rng = np.random.default_rng(seed)
    boxes, own, real = some_boxes(rng, count), some_boxes(rng, objects), int(rng.integers(0, count + 1))
    sampler = RoISampler(IoUAssigner(0.5, 0.5, 0.5), most, 0.4)
    wanted = sampler(boxes[:real], own, np.random.default_rng(3) if keyed else None)
    keys = keys_of(np.random.default_rng(3) if keyed else None, objects + count)
    valid = np.arange(count) < real
    found = sample(sampler, *map(paddle.to_tensor, (boxes, valid, own, keys)))
    used = found.valid.numpy()
    assert np.array_equal(used, np.arange(most) < len(wanted.boxes))
    assert np.array_equal(found.boxes.numpy()[used], wanted.boxes)
    positive = found.positive.numpy()
    assert np.array_equal(positive, np.arange(most) < wanted.num_positive)
    assert np.array_equal(found.object_index.numpy()[positive], wanted.object_index)
    assert np.array_equal(found.is_object.numpy()[positive], wanted.is_object)


def model_of(name: str) -> paddle.nn.Layer:
    if name.startswith("tiny"):
        return reference_model(name)
    built = {"cascade": cascade_mask_rcnn, "mask": mask_rcnn}[name]()
    if name == "mask":
        give_weights(built, "tiny_mask")
    return built


def batch_of_two(*objects: int) -> dict:
    one, two = (random_batch(count, seed=seed) for seed, count in enumerate(objects))
    out = {key: [*one[key], *two[key]] for key in ("gt_bbox", "gt_class", "gt_mask")}
    out |= {key: np.concatenate([one[key], two[key]]) for key in ("im_shape", "scale_factor", "origin_shape")}
    return {**out, "im_id": np.array([7, 8]), **{key: paddle.concat([one[key], two[key]]) for key in ("image", "semantic")}}


def step(model: paddle.nn.Layer, batch: dict) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    losses = model(batch)
    losses["loss"].backward()
    gradients = {k: p.grad.numpy().copy() for k, p in model.named_parameters() if p.grad is not None}
    model.clear_gradients()
    return {k: float(v) for k, v in losses.items()}, gradients


@pytest.mark.parametrize("name", ["tiny_a", "tiny_b", "mask", "cascade"])
@pytest.mark.parametrize("objects", [(6, 3), (0, 4), (0, 0)])
def test_losses_and_gradients_are_those_of_a_cpu(name, objects):
    paddle.seed(0)
    model, batch = model_of(name), batch_of_two(*objects)
    model.train()
    losses, gradients = step(model, batch)
    with plain_operators():
        ours, own = step(model, batch)
    assert ours == pytest.approx(losses, rel=1e-3, abs=1e-5)
    assert own.keys() == gradients.keys()
    for key, gradient in gradients.items():
        # Paddle's RoIAlign loses a little of the gradient of cells at the border on a CPU.
        assert np.linalg.norm(own[key] - gradient) <= 0.08 * np.linalg.norm(gradient) + 1e-5, key


def test_a_step_reads_three_times():
    model, batch = model_of("tiny_a"), batch_of_two(6, 3)
    model.train()
    with plain_operators(), counted_reads() as reads:
        losses = model(batch)
        losses["loss"].backward()
    assert reads == ["numpy"] * 3


def test_falls_back_to_numpy_where_nms_does_not_come_to_its_end(monkeypatch):
    model, batch = model_of("tiny_b"), batch_of_two(6, 3)
    model.train()
    losses, _ = step(model, batch)
    keep = on_device.keep_best
    monkeypatch.setattr(on_device, "keep_best", lambda *args: keep(*args, rounds=1))
    refused = []
    check = device_training._check
    monkeypatch.setattr(device_training, "_check", lambda flags: (refused.append(flags[1]), check(flags)))
    with plain_operators():
        assert step(model, batch)[0] == pytest.approx(losses, rel=1e-3)
    assert refused == [0]


@pytest.mark.parametrize("part", ["rpn_head.deltas.bias", "rpn_head.objectness.bias", "regress.bias"])
def test_divergence_is_our_error(part):
    model = model_of("tiny_b")
    poisoned = next(p for k, p in model.named_parameters() if k.endswith(part))
    poisoned.set_value(np.full(poisoned.shape, np.nan, np.float32))
    model.train()
    with plain_operators(), pytest.raises(DivergenceError):
        model(batch_of_two(2, 1))


def test_boxes_and_losses_are_float32_of_what_mixed_precision_gives():
    # `auto_cast` has no effect on a CPU; the casts it would make are made by hand.
    def fewer_bits(layer, _, outputs):
        return tuple([y.astype("bfloat16") for y in x] if isinstance(x, list) else x.astype("bfloat16") for x in outputs)

    model, batch = model_of("tiny_a"), batch_of_two(6, 3)
    model.train()
    losses, _ = step(model, batch)
    hooks = [part.register_forward_post_hook(fewer_bits) for part in (model.rpn_head, *model.roi_head.box_heads)]
    with plain_operators():
        ours, gradients = step(model, batch)
        assert all(np.isfinite(g).all() for g in gradients.values())
        model.eval()
        (one, two) = model.candidates(batch, model.settings)
    for hook in hooks:
        hook.remove()
    assert ours.keys() == losses.keys()
    assert ours["loss"] == pytest.approx(losses["loss"], rel=0.1)
    assert one.boxes.dtype == two.scores.dtype == np.float32
    maps = [paddle.ones([1, 2, 8, 8], dtype="bfloat16")]
    assert Pyramid(maps, [4]).pool(np.array([[0, 4, 4, 20, 20]], np.float32), 2).dtype == paddle.float32
