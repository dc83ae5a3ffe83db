"""Both sides of our operators' seam on one machine: within `plain_operators` a CPU runs what a GPU does."""

import numpy as np
import paddle
import pytest
from reference_model import random_batch, reference_model

from ppdet_ext.modeling.ops import conv_rows, deform_conv, winograd
from ppdet_ext.modeling.ops.seam import plain_operators, takes_ours


def test_the_switch_ends_with_its_block_and_with_an_error():
    x = paddle.zeros([1])

    def fail():
        with plain_operators():
            assert not takes_ours(x)
            raise KeyError

    assert takes_ours(x)
    with pytest.raises(KeyError):
        fail()
    assert takes_ours(x)


@pytest.mark.parametrize("name", ["tiny_b", "tiny_c"])
def test_a_model_trains_alike_on_either_side(name, monkeypatch):
    model, batch = reference_model(name), random_batch(4)
    model.train()

    def step() -> tuple[dict[str, float], dict[str, np.ndarray]]:
        losses = model(batch)
        losses["loss"].backward()
        gradients = {k: p.grad.numpy().copy() for k, p in model.named_parameters() if p.grad is not None}
        model.clear_gradients()
        return {k: float(v) for k, v in losses.items()}, gradients

    ours = step()
    for module, own in ((conv_rows, "_Convolution"), (winograd, "_Convolution"), (deform_conv, "_SparseDeformConv")):
        monkeypatch.setattr(module, own, None)
    with plain_operators():
        plain = step()
    assert plain[0] == pytest.approx(ours[0], rel=2e-4)
    for key, gradient in ours[1].items():
        # Paddle's RoIAlign loses a little of the gradient of cells at the border on a CPU.
        assert np.linalg.norm(plain[1][key] - gradient) <= 0.05 * np.linalg.norm(gradient) + 1e-6, key
