"""The tests every architecture passes; a subclass says how to build it."""

import numpy as np
import paddle
import pytest
from reference_model import random_batch

from ppdet_ext.errors import DivergenceError
from ppdet_ext.structures import Detections


def without_gradient(model: paddle.nn.Layer) -> list[str]:
    """Trainable parameters that a backward pass did not reach."""
    return [k for k, p in model.named_parameters() if not p.stop_gradient and p.grad is None]


def share_found(ours: Detections, theirs: Detections) -> float:
    """Share of our detections that are among theirs: same label, box to 0.1 px, score to 1e-4."""
    assert len(ours) > 0
    near = np.abs(ours.boxes[:, None] - theirs.boxes).max(axis=2) < 0.1
    same = (ours.labels[:, None] == theirs.labels) & (np.abs(ours.scores[:, None] - theirs.scores) < 1e-4)
    return float((near & same).any(axis=1).mean())


class ArchitectureTests:
    """Subclass with `build()`; 4 classes, a semantic target of 5 labels."""

    def build(self):
        """The model, freshly initialised."""
        raise NotImplementedError

    @pytest.fixture
    def model(self):
        paddle.seed(0)
        return self.build()

    def test_losses_are_finite_and_sum_to_the_total(self, model):
        model.train()
        losses = model(random_batch(objects=3))
        parts = [float(v) for k, v in losses.items() if k != "loss"]
        assert np.isfinite(parts).all()
        assert float(losses["loss"]) == pytest.approx(sum(parts), rel=1e-5)

    def test_every_trainable_parameter_gets_a_gradient(self, model):
        model.train()
        model(random_batch(objects=3))["loss"].backward()
        assert without_gradient(model) == []
        dead = [k for k, p in model.named_parameters() if not p.stop_gradient and not np.isfinite(p.grad.numpy()).all()]
        assert dead == []

    @pytest.mark.parametrize("objects", [0, 200])
    def test_images_without_and_with_many_objects_train(self, model, objects):
        model.train()
        losses = model(random_batch(objects=objects))
        losses["loss"].backward()
        assert np.isfinite(float(losses["loss"]))
        assert without_gradient(model) == [], "ranks without an object must still agree on the graph"

    def test_image_without_objects_and_proposals_trains(self, model):
        model.train()
        model.rpn_head.limits = {True: (1, 0)}
        losses = model(random_batch(objects=0))
        losses["loss"].backward()
        assert without_gradient(model) == [], "ranks without a region must still agree on the graph"

    def test_loss_depends_on_seed_epoch_and_image_alone(self, model):
        model.train()
        batch = random_batch(objects=5)
        first, again = float(model(batch)["loss"]), float(model(batch)["loss"])
        assert first == again
        assert float(model({**batch, "epoch": 1})["loss"]) != first

    def test_detections_lie_in_the_original_image(self, model):
        model.eval()
        batch = random_batch(objects=0)
        batch["scale_factor"] = np.full((1, 2), 0.5, np.float32)
        batch["origin_shape"] = np.array([[192, 256]])
        found = model(batch)
        assert len(found) == 1
        assert isinstance(found[0], Detections)
        boxes = found[0].boxes
        assert boxes.min(initial=0) >= 0
        assert boxes[:, [0, 2]].max(initial=0) <= 256
        assert boxes[:, [1, 3]].max(initial=0) <= 192
        if found[0].masks is not None:
            assert all(mask.size == (192, 256) for mask in found[0].masks)

    def test_no_detection_is_an_empty_result(self, model):
        model.eval()
        model.roi_head.score_threshold = 1.0
        assert len(model(random_batch(objects=0))[0]) == 0

    def test_batch_of_two_is_two_batches_of_one(self, model):
        # Rounding differs with the size of a batch (see `add_bias`), and random weights amplify it: at full brightness one bit
        # of the image moves a score by 1e-3. Faint images keep activations, and so the amplification, small.
        model.eval()
        one, two = (random_batch(objects=0, seed=seed, brightness=2e-3) for seed in (1, 2))
        both = {k: np.concatenate([one[k], two[k]]) for k in ("im_id", "im_shape", "scale_factor", "origin_shape")}
        both["image"] = paddle.concat([one["image"], two["image"]])
        alone = [*model(one), *model(two)]
        assert share_found(*alone) < 0.3, "images that look alike could change places unnoticed"
        # Not all: rounding may turn a decision of NMS.
        assert all(share_found(*pair) > 0.95 for pair in zip(model(both), alone, strict=True))

    @pytest.mark.parametrize("part", ["rpn_head.deltas.bias", "rpn_head.objectness.bias", "regress.bias"])
    def test_divergence_is_our_error_and_leaves_the_process_alive(self, model, part):
        poisoned = next(p for k, p in model.named_parameters() if k.endswith(part))
        poisoned.set_value(np.full(poisoned.shape, np.nan, np.float32))
        for mode in (model.train, model.eval):
            mode()
            with pytest.raises(DivergenceError):
                model(random_batch(objects=2))
