"""Layers of the heads with the reference's initialisation."""

import paddle
import paddle.nn.functional as F
from paddle import nn
from paddle.nn.initializer import Constant, KaimingNormal, Normal, XavierUniform

from . import winograd
from .seam import takes_ours

_EPSILON = 1e-5


def add_bias(x: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """x (n, C, H, W) + bias (C).

    On a CPU Paddle's broadcasting addition takes twenty times as long as its batch norm, for more than one image; so the bias
    goes in as the shift of a batch norm with mean 0, variance 1 and scale 1. That is exact where the CPU's estimate of 1/√1 is
    1 (AMD's); on Intel's x is scaled by 1 + 2⁻²³, its last bit.
    """
    if not takes_ours(x) or x.shape[0] == 1:
        return x + bias.reshape([1, -1, 1, 1])
    channels = [bias.shape[0]]
    variance, scale = paddle.full(channels, 1 - _EPSILON), paddle.ones(channels)
    scale.stop_gradient = bias.stop_gradient  # Paddle gives the shift a gradient only beside the scale's
    return F.batch_norm(
        x, paddle.zeros(channels), variance, scale, bias, training=True, epsilon=_EPSILON, use_global_stats=True
    )


class Conv2D(nn.Conv2D):
    """paddle.nn.Conv2D, faster on CPUs (see `add_bias` and `winograd`)."""

    def forward(self, x: paddle.Tensor, relu: bool = False) -> paddle.Tensor:
        """(n, C_in, H, W) -> (n, C_out, H', W'), through a ReLU if asked for."""
        if winograd.applies(x, self):
            return winograd.conv3x3(x, self.weight, self.bias, relu)
        out = F.conv2d(x, self.weight, None, self._stride, self._updated_padding, self._dilation, self._groups)
        out = add_bias(out, self.bias)
        return F.relu(out) if relu else out


def speed_up(part: nn.Layer) -> nn.Layer:
    """Give the plain convolutions with a bias inside one of ppdet's parts the forward pass of ours; its names stay."""
    for layer in part.sublayers():
        if type(layer) is nn.Conv2D and layer.bias is not None:
            layer.__class__ = Conv2D
    return part


class Conv2DTranspose(nn.Conv2DTranspose):
    """paddle.nn.Conv2DTranspose, faster on CPUs (see `add_bias`)."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(n, C_in, H, W) -> (n, C_out, H', W')."""
        return add_bias(F.conv2d_transpose(x, self.weight, None, self._stride), self.bias)


def add_into(x: paddle.Tensor, other: paddle.Tensor) -> paddle.Tensor:
    """x + other of like shape, in x's memory where that can be. Not for an x that an operator keeps for its gradient."""
    return x.add_(other) if x.dtype == other.dtype and paddle.in_dynamic_mode() else x + other


class InplaceReLU(nn.Layer):
    """Rectify a tensor in its own memory. Not after an operator that keeps its output; batch norm keeps its input only."""

    def forward(self, x: paddle.Tensor) -> paddle.Tensor:
        """(…) -> the same tensor."""
        return F.relu_(x) if paddle.in_dynamic_mode() else F.relu(x)


def conv(inputs: int, outputs: int, kernel: int, std: float | None = None) -> Conv2D:
    """Convolution that keeps the size; Kaiming-normal weights (fan out, as the reference), or normal with `std`."""
    fan_out = outputs * kernel * kernel
    weight = KaimingNormal(fan_in=fan_out, nonlinearity="relu") if std is None else Normal(0.0, std)
    return Conv2D(inputs, outputs, kernel, padding=kernel // 2, weight_attr=_attr(weight), bias_attr=_attr(Constant(0.0)))


def upsample(channels: int) -> Conv2DTranspose:
    """Deconvolution that doubles the size; Kaiming-normal weights."""
    weight = KaimingNormal(fan_in=channels * 4, nonlinearity="relu")
    return Conv2DTranspose(channels, channels, 2, stride=2, weight_attr=_attr(weight), bias_attr=_attr(Constant(0.0)))


def linear(inputs: int, outputs: int, std: float | None = None) -> nn.Linear:
    """Fully connected layer; Xavier-uniform weights, or normal with `std`."""
    weight = XavierUniform() if std is None else Normal(0.0, std)
    return nn.Linear(inputs, outputs, weight_attr=_attr(weight), bias_attr=_attr(Constant(0.0)))


def _attr(initializer: paddle.nn.initializer.Initializer) -> paddle.ParamAttr:
    return paddle.ParamAttr(initializer=initializer)
