"""The fast 3×3 convolution is a convolution: values, gradients, borders, and who uses it."""

import subprocess
import sys

import numpy as np
import paddle
import paddle.nn.functional as F
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ppdet_ext.modeling.ops import winograd, winograd_canvas
from ppdet_ext.modeling.ops.layers import conv, speed_up


def arrays(n: int, channels: int, outputs: int, height: int, width: int, seed: int = 0) -> list[paddle.Tensor]:
    rng = np.random.default_rng(seed)
    shapes = [(n, channels, height, width), (outputs, channels, 3, 3), (outputs,), (n, outputs, height, width)]
    return [paddle.to_tensor(rng.standard_normal(shape).astype(np.float32), stop_gradient=False) for shape in shapes]


def gradients(convolve, x, weight, bias, upstream) -> list[np.ndarray]:
    for tensor in (x, weight, bias):
        tensor.clear_grad()
    out = convolve(x, weight, bias)
    out.backward(upstream)
    return [out.numpy(), *(tensor.grad.numpy() for tensor in (x, weight, bias))]


def plain(x, weight, bias):
    return F.conv2d(x, weight, bias, 1, 1)


@settings(max_examples=40)
@given(
    n=st.integers(1, 40),
    channels=st.integers(1, 5),
    outputs=st.integers(1, 5),
    height=st.integers(1, 50),
    width=st.integers(1, 60),
)
def test_values_and_gradients_are_those_of_the_plain_convolution(n, channels, outputs, height, width):
    tensors = arrays(n, channels, outputs, height, width)
    summed = np.sqrt(n * height * width)  # what enters a gradient of weight or bias
    for ours, theirs, terms in zip(gradients(winograd.conv3x3, *tensors), gradients(plain, *tensors), (1, 1, summed, summed)):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-5 * max(terms, np.abs(theirs).max()))


def test_relu_stops_values_and_gradients():
    x, weight, bias, upstream = arrays(6, 4, 4, 14, 14)
    before = winograd.conv3x3(x, weight, bias)
    after = gradients(lambda *t: winograd.conv3x3(*t, True), x, weight, bias, upstream)
    assert np.array_equal(after[0], F.relu(before).numpy())
    stopped = upstream * (before > 0).astype("float32")
    for ours, theirs in zip(after[1:], gradients(winograd.conv3x3, x, weight, bias, stopped)[1:]):
        assert np.array_equal(ours, theirs)


def test_rounding_is_near_that_of_the_plain_convolution_in_a_mask_head():
    x, weight, bias, _ = arrays(8, 256, 256, 14, 14)
    exact = sum(
        np.einsum("oc,nchw->nohw", weight.numpy()[:, :, i, j].astype(np.float64), padded[:, :, i : i + 14, j : j + 14])
        for padded in [np.pad(x.numpy().astype(np.float64), [(0, 0), (0, 0), (1, 1), (1, 1)])]
        for i in range(3)
        for j in range(3)
    )
    exact += bias.numpy()[:, None, None]
    errors = [np.abs(f(x, weight, bias).numpy() - exact) / exact.std() for f in (winograd.conv3x3, plain)]
    assert errors[0].max() < 2e-5
    assert np.sqrt((errors[0] ** 2).mean()) < 2e-6


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", [(23, 3, 4, 14, 14), (2, 3, 4, 61, 47)])
@pytest.mark.parametrize("sizes", [{"COLUMNS": 1, "ROWS": 1}, {"COLUMNS": 3, "ROWS": 2}, {"ROWS": 100}, {"TILES": 10}])
def test_canvases_of_other_sizes_agree(shape, relu, sizes, monkeypatch):
    tensors = arrays(*shape)
    standard = gradients(lambda *t: winograd.conv3x3(*t, relu), *tensors)
    for name, value in sizes.items():
        monkeypatch.setattr(winograd_canvas, name, value)
    for ours, theirs in zip(gradients(lambda *t: winograd.conv3x3(*t, relu), *tensors), standard):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-4 * np.abs(theirs).max())


def test_repeats_are_bit_identical():
    tensors = arrays(33, 8, 8, 14, 14)
    first = gradients(winograd.conv3x3, *tensors)
    assert all(np.array_equal(a, b) for _ in range(3) for a, b in zip(gradients(winograd.conv3x3, *tensors), first))


@pytest.mark.parametrize("frozen", [{0}, {1}, {2}, {0, 1}, {0, 2}, {1, 2}])
def test_frozen_tensors_get_no_gradient_and_the_others_theirs(frozen):
    expected = gradients(winograd.conv3x3, *arrays(5, 4, 4, 14, 14))[1:]
    *tensors, upstream = arrays(5, 4, 4, 14, 14)
    for k, tensor in enumerate(tensors):
        tensor.stop_gradient = k in frozen
    winograd.conv3x3(*tensors).backward(upstream)
    for k, (tensor, gradient) in enumerate(zip(tensors, expected)):
        assert (tensor.grad is None) == (k in frozen)
        assert k in frozen or np.array_equal(tensor.grad.numpy(), gradient)


def test_forked_process_computes(root):
    code = """
import ppdet_ext, os, paddle, signal
from ppdet_ext.modeling.ops.winograd import conv3x3
x, w, b = paddle.ones([40, 2, 14, 14]), paddle.ones([2, 2, 3, 3]), paddle.zeros([2])
conv3x3(x, w, b)
if child := os.fork():
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
signal.alarm(60)
os._exit(0 if float(conv3x3(x, w, b)[0, 0, 5, 5]) == 18 else 3)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=root, timeout=120, check=False).returncode == 0


@pytest.mark.parametrize(
    ("shape", "kernel", "used"),
    [
        ((4, 128, 14, 14), 3, True),
        ((3, 128, 14, 14), 3, False),
        ((1, 128, 80, 80), 3, True),
        ((1, 128, 80, 79), 3, False),
        ((4, 64, 14, 14), 3, False),
        ((4, 128, 14, 14), 1, False),
    ],
)
def test_who_takes_it(shape, kernel, used, monkeypatch):
    calls = []
    monkeypatch.setattr(winograd, "conv3x3", lambda x, weight, bias, relu: calls.append(1) or plain(x, weight, bias))
    conv(shape[1], shape[1], kernel)(paddle.randn(shape))
    assert bool(calls) == used


OTHERS = [{"stride": 2}, {"padding": 0}, {"dilation": 2}, {"groups": 2}, {"padding_mode": "reflect"}]


@pytest.mark.parametrize("settings", OTHERS)
def test_other_convolutions_do_not_take_it(settings):
    assert not winograd.applies(paddle.zeros([4, 128, 14, 14]), paddle.nn.Conv2D(128, 128, 3, **{"padding": 1, **settings}))


def test_sped_up_part_computes_and_is_named_as_before():
    part = paddle.nn.Sequential(paddle.nn.Conv2D(128, 128, 3, padding=1), paddle.nn.Conv2D(128, 8, 1, bias_attr=False))
    x, names = paddle.randn([4, 128, 14, 14]), list(part.state_dict())
    before = part(x).numpy()
    np.testing.assert_allclose(speed_up(part)(x).numpy(), before, rtol=0, atol=1e-4)
    assert list(part.state_dict()) == names
    assert winograd.applies(x, part[0])
