"""Weight initialisers of the heads, and the zero loss of a head that saw nothing."""

import paddle
from paddle import nn
from paddle.nn.initializer import Constant, KaimingNormal, Normal, XavierUniform


def conv(inputs: int, outputs: int, kernel: int, std: float | None = None) -> nn.Conv2D:
    """Convolution that keeps the size; Kaiming-normal weights (fan out, as the reference), or normal with `std`."""
    fan_out = outputs * kernel * kernel
    weight = KaimingNormal(fan_in=fan_out, nonlinearity="relu") if std is None else Normal(0.0, std)
    attr = paddle.ParamAttr(initializer=weight)
    return nn.Conv2D(
        inputs,
        outputs,
        kernel,
        padding=kernel // 2,
        weight_attr=attr,
        bias_attr=paddle.ParamAttr(initializer=Constant(0.0)),
    )


def linear(inputs: int, outputs: int, std: float | None = None) -> nn.Linear:
    """Fully connected layer; Xavier-uniform weights, or normal with `std`."""
    weight = XavierUniform() if std is None else Normal(0.0, std)
    return nn.Linear(
        inputs,
        outputs,
        weight_attr=paddle.ParamAttr(initializer=weight),
        bias_attr=paddle.ParamAttr(initializer=Constant(0.0)),
    )


def zero_loss(*layers: nn.Layer) -> paddle.Tensor:
    """A loss of 0 that reaches every parameter, so that ranks without a positive sample still agree on the graph."""
    return sum((p.sum() * 0.0 for layer in layers for p in layer.parameters()), paddle.zeros([]))
