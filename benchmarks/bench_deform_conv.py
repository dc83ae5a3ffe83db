"""Deformable convolutions (v1), forward and backward: ours (sparse product), Paddle's CPU operator, a plain convolution.

    python benchmarks/bench_deform_conv.py [--repeats 2]

The 3×3 layers of ResNeXt-101 64×4d's c3, c4 and c5 and of ResNet-50's c4, on an image of 256 × 1600 px; all in the same run.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ppdet_ext.register  # noqa: F401, I001  first: it sets threads
import paddle
import paddle.nn.functional as F
from ppdet_ext.modeling.ops.deform_conv import deform_conv2d

LAYERS = {
    "X101 c3": (512, 64, 32, 200),
    "X101 c4": (1024, 64, 16, 100),
    "X101 c5": (2048, 64, 8, 50),
    "R50 c4": (256, 1, 16, 100),
}


def timed(step: Callable[[], paddle.Tensor], upstream: paddle.Tensor, repeats: int) -> tuple[float, float]:
    """Seconds of the best forward and of the best backward pass, after one to warm up."""
    runs = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        out = step()
        out.numpy()
        middle = time.perf_counter()
        out.backward(upstream)
        runs.append((middle - start, time.perf_counter() - middle))
    forward, backward = zip(*runs[1:])
    return min(forward), min(backward)


def main() -> None:
    """Print a line for each layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=2)
    args = parser.parse_args()
    for name, (channels, groups, height, width) in LAYERS.items():
        shapes = ([1, channels, height, width], [1, 18, height, width], [channels, channels // groups, 3, 3])
        x, offset, weight = (paddle.randn(shape) for shape in shapes)
        for value in (x, offset, weight):
            value.stop_gradient = False
        upstream = paddle.randn(x.shape)
        steps = {
            "plain": lambda x=x, w=weight, g=groups: F.conv2d(x, w, None, 1, 1, 1, g),
            "ours": lambda x=x, o=offset, w=weight, g=groups: deform_conv2d(x, o, w, None, 1, 1, g),
            "paddle": lambda x=x, o=offset, w=weight, g=groups: paddle.vision.ops.deform_conv2d(x, o, w, None, 1, 1, 1, 1, g),
        }
        seconds = {side: timed(step, upstream, args.repeats) for side, step in steps.items()}
        parts = [f"{side} {1e3 * f:6.0f} + {1e3 * b:6.0f} ms" for side, (f, b) in seconds.items()]
        ratio = sum(seconds["paddle"]) / sum(seconds["ours"])
        print(f"{name}   forward + backward: {'   '.join(parts)}   paddle / ours {ratio:5.1f} ×")


if __name__ == "__main__":
    main()
