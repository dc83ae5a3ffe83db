"""Batch norm against torch's outputs, gradients and stored statistics."""

import numpy as np
import paddle
import pytest
from smp_recipe import FIXTURES

from ppdet_ext.errors import UserError
from ppdet_ext.modeling.ops.norms import BatchNorm2D

SETTINGS = {"resnet": (0.1, 1e-5), "efficientnet": (0.01, 1e-3)}


@pytest.fixture(scope="module")
def ops() -> dict[str, np.ndarray]:
    with np.load(FIXTURES / "encoders.npz") as file:
        return {key.removeprefix("ops/"): file[key] for key in file.files if key.startswith("ops/")}


@pytest.mark.parametrize("family", SETTINGS)
def test_a_training_step_is_torchs(ops, family):
    values = {key.split("/")[1]: value for key, value in ops.items() if key.startswith(f"batch_norm_{family}/")}
    layer = BatchNorm2D(4, *SETTINGS[family])
    layer.weight.set_value(values["w"])
    layer.bias.set_value(values["b"])
    x = paddle.to_tensor(values["x"], stop_gradient=False)
    out = layer(x)
    (out * paddle.to_tensor(values["g"])).sum().backward()
    np.testing.assert_allclose(out.numpy(), values["y"], atol=2e-6)
    np.testing.assert_allclose(x.grad.numpy(), values["dx"], atol=2e-6)
    np.testing.assert_allclose(layer._mean.numpy(), values["running_mean"], atol=1e-7)
    np.testing.assert_allclose(layer._variance.numpy(), values["running_var"], atol=5e-7)


@pytest.mark.parametrize("shape", [(2, 3, 1, 1), (3, 3, 4, 5)])
def test_stored_variance_is_the_unbiased_one_over_several_steps(shape):
    layer, rng, expected = BatchNorm2D(3), np.random.default_rng(0), np.ones(3)
    for _ in range(3):
        x = rng.normal(1, 3, shape).astype(np.float32)
        layer(paddle.to_tensor(x))
        expected = 0.9 * expected + 0.1 * x.astype(np.float64).var(axis=(0, 2, 3), ddof=1)
    np.testing.assert_allclose(layer._variance.numpy(), expected, rtol=1e-6)


def test_what_other_devices_compute_from_the_values_is_the_same():
    x = paddle.to_tensor(np.random.default_rng(0).normal(1, 3, (2, 3, 4, 5)).astype(np.float32))
    layer = BatchNorm2D(3)
    from_values = layer._variance_of(x).numpy()
    layer(x)
    np.testing.assert_allclose(layer._variance.numpy(), from_values, rtol=1e-6)


def test_evaluation_changes_nothing_and_equals_paddles():
    x = paddle.to_tensor(np.random.default_rng(0).normal(1, 3, (2, 3, 4, 5)).astype(np.float32))
    ours, theirs = BatchNorm2D(3), paddle.nn.BatchNorm2D(3)
    for layer in (ours, theirs):
        layer.eval()
    assert np.array_equal(ours(x).numpy(), theirs(x).numpy())
    assert np.array_equal(ours._variance.numpy(), np.ones(3, np.float32))


def test_a_layer_can_run_twice_before_its_gradients():
    layer, x = BatchNorm2D(3), paddle.rand([2, 3, 4, 4])
    x.stop_gradient = False
    (layer(x) + layer(2 * x)).sum().backward()
    assert np.isfinite(x.grad.numpy()).all()


def test_one_value_a_channel_has_no_variance():
    with pytest.raises(UserError, match="batch_size of 2 or more"):
        BatchNorm2D(3)(paddle.rand([1, 3, 1, 1]))
    frozen = BatchNorm2D(3)
    frozen._use_global_stats = True
    assert frozen(paddle.rand([1, 3, 1, 1])).shape == [1, 3, 1, 1]
