"""RoIAlign of 512 regions, forward and backward: ours (sparse product) against Paddle's CPU operator, in the same run.

    python benchmarks/bench_roi_align.py [--rois 512] [--repeats 5]

256 channels; the pyramid of a 256 × 1600 px image pooled at 7 × 7, and its stride-8 map pooled at 14 × 14 and halved, as HTC's
box heads do.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import ppdet_ext.register  # noqa: F401, I001  first: it sets threads
import paddle
from ppdet_ext.modeling.ops.roi_align import Pyramid


def main() -> None:
    """Print the best of the repeats for each side."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rois", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=5)
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    corner = rng.uniform(0, [1450, 180], (args.rois, 2))
    far = np.minimum(corner + rng.uniform(12, 150, (args.rois, 2)), [1600, 256])
    rois = np.concatenate([np.zeros((args.rois, 1)), corner, far], axis=1).astype(np.float32)
    strides = [4, 8, 16, 32]
    maps = [paddle.randn([1, 256, 256 // s, 1600 // s]) for s in strides]
    for m in maps:
        m.stop_gradient = False
    for name, pyramid, merge in (("pyramid 7×7", Pyramid(maps, strides), 1), ("semantic 14×14", Pyramid(maps[1:2], [8]), 2)):
        seconds = {}
        for method in ("_pool_sparse", "_pool_native"):
            runs = []
            for _ in range(args.repeats + 1):
                pyramid._matrix = None
                start = time.perf_counter()
                out = getattr(pyramid, method)(rois, 7, merge)
                out.sum().backward()
                runs.append(time.perf_counter() - start)
            seconds[method] = min(runs[1:])
        ours, theirs = seconds["_pool_sparse"], seconds["_pool_native"]
        print(f"{name:16} ours {ours * 1e3:7.1f} ms   paddle {theirs * 1e3:7.1f} ms   {theirs / ours:5.1f} ×")


if __name__ == "__main__":
    main()
