"""Which side of an operator runs: ours for CPUs, or Paddle's own, which every device has and a traced graph can hold."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import paddle

_plain: ContextVar[bool] = ContextVar("plain_operators", default=False)
_convertible: ContextVar[bool] = ContextVar("convertible_operators", default=False)


def takes_ours(x: paddle.Tensor) -> bool:
    """Whether our operators for CPUs run for x: at once, not traced, on a CPU, and not within `plain_operators`."""
    return paddle.in_dynamic_mode() and not _plain.get() and x.place.is_cpu_place()


def is_converted() -> bool:
    """Whether a graph is traced to be converted, with operators alone that ONNX Runtime and OpenVINO have."""
    return _convertible.get()


def size_of(x: paddle.Tensor) -> list[int] | paddle.Tensor:
    """Height and width of (B, C, H, W): numbers, or in a traced graph, where they may be unknown, a tensor (2,) int32."""
    return x.shape[2:] if min(x.shape[2:]) >= 0 else paddle.shape(x)[2:].astype("int32")


def in_float32(x: paddle.Tensor) -> paddle.Tensor:
    """x itself, or what `auto_cast` left in fewer bits as float32: boxes, losses and RoIAlign are computed in that."""
    return x if x.dtype == paddle.float32 else x.astype("float32")


@contextmanager
def plain_operators() -> Iterator[None]:
    """Run Paddle's operators on a CPU, too: what a GPU runs, and a traced graph. For tests, and for comparisons."""
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


@contextmanager
def convertible_operators() -> Iterator[None]:
    """Trace a graph that ONNX is made of."""
    token = _convertible.set(True)
    try:
        yield
    finally:
        _convertible.reset(token)
