"""Winograd's 3×3 convolution against Paddle's, forward and backward, in the same run.

    python benchmarks/bench_winograd.py [--repeats 5]

Shapes: 128 and 32 regions of a mask head; maps of the pyramid at strides 4, 8, 16 of a 256 × 1600 px image. The peer adds its
bias as `layers.add_bias` does, the fastest way. Best of the repeats; the error is the largest difference over the standard
deviation.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ppdet_ext.register  # noqa: F401, I001  first: it sets threads
import paddle
import paddle.nn.functional as F
from ppdet_ext.modeling.ops.layers import add_bias
from ppdet_ext.modeling.ops.winograd import conv3x3

SHAPES = [(128, 256, 14, 14), (32, 256, 14, 14), (1, 256, 64, 400), (1, 256, 32, 200), (1, 256, 16, 100), (1, 128, 64, 400)]


def peer(x: paddle.Tensor, weight: paddle.Tensor, bias: paddle.Tensor) -> paddle.Tensor:
    """Paddle's convolution."""
    return add_bias(F.conv2d(x, weight, None, 1, 1), bias)


def measure(convolve: Callable, tensors: list[paddle.Tensor], upstream: paddle.Tensor, repeats: int) -> tuple[float, float]:
    """Best seconds of forward and of backward."""
    best = [np.inf, np.inf]
    for _ in range(repeats + 1):
        for tensor in tensors:
            tensor.clear_grad()
        start = time.perf_counter()
        out = convolve(*tensors)
        middle = time.perf_counter()
        out.backward(upstream)
        best = [min(best[0], middle - start), min(best[1], time.perf_counter() - middle)]
    return best[0], best[1]


def main() -> None:
    """A line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    print(f"{'input':20}{'Paddle ms':>16}{'Winograd ms':>16}{'speed-up':>10}{'error':>10}")
    for shape in SHAPES:
        channels = shape[1]
        tensors = [paddle.randn(shape), paddle.randn([channels, channels, 3, 3]) / 50, paddle.randn([channels])]
        for tensor in tensors:
            tensor.stop_gradient = False
        upstream = paddle.randn(shape)
        theirs, ours = (measure(function, tensors, upstream, args.repeats) for function in (peer, conv3x3))
        expected = peer(*tensors)
        error = float((conv3x3(*tensors) - expected).abs().max() / expected.std())
        times = [f"{forward * 1e3:.0f} + {backward * 1e3:.0f}" for forward, backward in (theirs, ours)]
        print(
            f"{' × '.join(map(str, shape)):20}{times[0]:>16}{times[1]:>16}{sum(theirs) / sum(ours):9.1f}×{error:10.1e}",
            flush=True,
        )


if __name__ == "__main__":
    main()
