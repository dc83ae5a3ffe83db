"""Deformable convolutions against the reference's operator, and against Paddle's."""

from pathlib import Path

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from paddle import nn

from ppdet_ext.errors import DivergenceError
from ppdet_ext.modeling.ops.deform_conv import DeformConv2D, deform_conv2d
from ppdet_ext.modeling.ops.seam import convertible_operators


@pytest.fixture(scope="module")
def golden() -> dict:
    return dict(np.load(Path(__file__).parent / "golden" / "dcn.npz"))


def tensor(*shape: int, seed: int = 0) -> paddle.Tensor:
    values = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
    return paddle.to_tensor(values, stop_gradient=False)


@pytest.mark.parametrize("case", range(3))
def test_v1_and_its_gradients(golden, case):
    stride, groups = (int(v) for v in golden[f"dcn{case}_cfg"])
    x, off, w = (paddle.to_tensor(golden[f"dcn{case}_{k}"], stop_gradient=False) for k in ("x", "off", "w"))
    out = deform_conv2d(x, off, w, None, stride, 1, groups)
    np.testing.assert_allclose(out.numpy(), golden[f"dcn{case}_y"], atol=1e-5)
    out.backward(paddle.to_tensor(golden[f"dcn{case}_g"]))
    for value, name in ((x, "dx"), (off, "doff"), (w, "dw")):
        np.testing.assert_allclose(value.grad.numpy(), golden[f"dcn{case}_{name}"], atol=3e-5, err_msg=name)


@pytest.mark.parametrize(("stride", "groups"), [(1, 1), (2, 4)])
def test_v2_and_its_gradients_equal_paddles(stride, groups):
    height, width = -(-7 // stride), -(-9 // stride)
    inputs = [tensor(2, 8, 7, 9), tensor(2, 18, height, width, seed=1), tensor(12, 8 // groups, 3, 3, seed=2)]
    mask = F.sigmoid(tensor(2, 9, height, width, seed=3)).detach()
    mask.stop_gradient = False
    upstream = tensor(2, 12, height, width, seed=4)
    results = []
    for operator in (deform_conv2d, lambda *a: paddle.vision.ops.deform_conv2d(*a[:3], None, stride, 1, 1, 1, groups, mask)):
        for value in (*inputs, mask):
            value.clear_grad()
        out = operator(*inputs, mask, stride, 1, groups)
        out.backward(upstream)
        results.append([out.numpy()] + [value.grad.numpy() for value in (*inputs, mask)])
    for ours, paddles in zip(*results):
        np.testing.assert_allclose(ours, paddles, atol=2e-5)


def test_whole_offsets_shift_the_picture():
    x, weight = tensor(1, 4, 6, 8), tensor(5, 4, 3, 3, seed=1)
    offset = np.zeros((1, 9, 2, 6, 8), np.float32)
    offset[:, :, 0], offset[:, :, 1] = 2, -1
    shifted = np.zeros(x.shape, np.float32)
    shifted[:, :, :4, 1:] = x.numpy()[:, :, 2:, :7]
    out = deform_conv2d(x, paddle.to_tensor(offset.reshape(1, 18, 6, 8)), weight).numpy()
    want = F.conv2d(paddle.to_tensor(shifted), weight, padding=1).numpy()
    # At the edge the kernel sees what the shift of a padded picture has thrown away.
    np.testing.assert_allclose(out[:, :, 1:3, 2:7], want[:, :, 1:3, 2:7], atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
def test_v1_starts_as_the_plain_convolution_and_v2_as_half_of_it(stride):
    x, plain = tensor(2, 8, 9, 12), nn.Conv2D(8, 12, 3, stride, padding=1, groups=4, bias_attr=False)
    want = plain(x).numpy()
    np.testing.assert_allclose(DeformConv2D(plain)(x).numpy(), want, atol=1e-5)
    np.testing.assert_allclose(DeformConv2D(plain, modulated=True)(x).numpy(), want / 2, atol=1e-5)


def test_layer_has_the_references_parameters():
    layer = DeformConv2D(nn.Conv2D(8, 12, 3, padding=1, groups=4, bias_attr=False))
    shapes = {k: v.shape for k, v in layer.state_dict().items()}
    assert shapes == {"weight": [12, 2, 3, 3], "conv_offset.weight": [18, 8, 3, 3], "conv_offset.bias": [18]}
    layer(tensor(1, 8, 5, 5)).sum().backward()
    assert all(np.abs(p.grad.numpy()).max() > 0 for p in layer.parameters())


def test_frozen_parts_take_no_gradient():
    layer = DeformConv2D(nn.Conv2D(4, 4, 3, padding=1, bias_attr=False), modulated=True)
    layer.weight.stop_gradient = True
    x = tensor(1, 4, 5, 5)
    x.stop_gradient = True
    layer(x).sum().backward()
    assert layer.weight.grad is None
    assert layer.conv_offset.bias.grad is not None


def test_offset_that_is_not_finite_is_our_error():
    offset = np.zeros((1, 18, 5, 5), np.float32)
    offset[0, 3, 2, 2] = np.nan
    with pytest.raises(DivergenceError, match="offsets"):
        deform_conv2d(tensor(1, 4, 5, 5), paddle.to_tensor(offset), tensor(4, 4, 3, 3))


def test_offset_far_away_samples_nothing():
    offset = paddle.full([1, 18, 5, 5], 1e30)
    out = deform_conv2d(tensor(1, 4, 5, 5), offset, tensor(4, 4, 3, 3))
    assert np.abs(out.numpy()).max() == 0


@pytest.mark.parametrize(("kernel", "stride", "groups", "modulated"), [(3, 1, 4, True), (3, 2, 1, False), (5, 2, 2, True)])
def test_what_is_converted_samples_a_grid(kernel, stride, groups, modulated):
    x, weight = tensor(2, 8, 9, 11), tensor(4, 8 // groups, kernel, kernel, seed=2)
    height, width = -(-9 // stride), -(-11 // stride)
    # Far enough for samples outside the map, and within a cell of it.
    offset = 3 * tensor(2, 2 * kernel * kernel, height, width, seed=1)
    mask = F.sigmoid(tensor(2, kernel * kernel, height, width, seed=3)) if modulated else None
    arguments = (x, offset, weight, mask, stride, kernel // 2, groups)
    expected = deform_conv2d(*arguments).numpy()
    with convertible_operators():
        np.testing.assert_allclose(deform_conv2d(*arguments).numpy(), expected, atol=2e-5)
