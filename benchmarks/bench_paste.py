"""Pasting masks into a large image: `paste_masks` against ppdet's `MaskPostProcess`; memory, time, equality.

    python benchmarks/bench_paste.py [--masks 100 --height 3072 --width 2304 --peer-batch 10]

Each runs in a process of its own. Memory is how far the resident set rose above what it was before the call
(peak from VmHWM), after a warm-up on one small mask. The peer takes about 540 MB a mask at this size, so it
is given `--peer-batch` masks at a time: its peak is that of one batch, and 100 at once would take 100/10 of it.
"""

import argparse
import ctypes
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from ppdet_ext.structures import Rle
from ppdet_ext.structures.paste import paste_masks

S = 28


def parse_args() -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--masks", type=int, default=100)
    parser.add_argument("--height", type=int, default=3072)
    parser.add_argument("--width", type=int, default=2304)
    parser.add_argument("--peer-batch", type=int, default=10, help="masks given to ppdet at once")
    parser.add_argument("--worker", choices=["ours", "ppdet"], help=argparse.SUPPRESS)
    return parser.parse_args()


def make_input(n: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth blobs (n, 28, 28) in boxes (n, 4) from 32 pixels to half the image, some over its border."""
    from scipy import ndimage

    rng = np.random.default_rng(0)
    noise = ndimage.gaussian_filter(rng.standard_normal((n, S, S)), (0, 3, 3)) * 60
    probs = (1 / (1 + np.exp(-noise))).astype(np.float32)
    extent = np.exp(rng.uniform(np.log(32), np.log([width / 2, height / 2]), (n, 2)))
    centre = rng.uniform(0, [width, height], (n, 2))
    return probs, np.concatenate([centre - extent / 2, centre + extent / 2], axis=1).astype(np.float32)


def memory_kb(key: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key))


def reset_peak() -> None:
    # Freed heap goes back first, so that reusing it counts as growth.
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")


def ours() -> tuple[Callable, Callable]:
    return paste_masks, lambda masks: masks


def ppdet() -> tuple[Callable, Callable]:
    import paddle
    from ppdet.modeling.post_process import MaskPostProcess

    def run(probs: np.ndarray, boxes: np.ndarray, height: int, width: int) -> "paddle.Tensor":
        rows = np.concatenate([np.zeros((len(boxes), 2), np.float32), boxes], axis=1)
        tensors = map(paddle.to_tensor, (probs, rows, [len(boxes)], [[height, width]]))
        return MaskPostProcess()(*tensors)

    return run, lambda result: [Rle.from_bitmap(result[i].numpy()) for i in range(result.shape[0])]


def work(args: argparse.Namespace) -> None:
    """Run one candidate and write (peak MB of a batch, seconds in all, masks) to stdout."""
    run, encode = {"ours": ours, "ppdet": ppdet}[args.worker]()
    run(*make_input(1, 64, 64), 64, 64)
    probs, boxes = make_input(args.masks, args.height, args.width)
    batch = args.masks if args.worker == "ours" else args.peer_batch
    grown, seconds, masks = 0.0, 0.0, []
    for i in range(0, args.masks, batch):
        reset_peak()
        before = memory_kb("VmRSS")
        start = time.perf_counter()
        result = run(probs[i : i + batch], boxes[i : i + batch], args.height, args.width)
        seconds += time.perf_counter() - start
        grown = max(grown, (memory_kb("VmHWM") - before) / 1024)
        masks += encode(result)
        del result
    sys.stdout.buffer.write(pickle.dumps((grown, seconds, masks)))


def measure(args: argparse.Namespace, name: str) -> tuple[float, float, list]:
    flags = [
        f"--masks={args.masks}",
        f"--height={args.height}",
        f"--width={args.width}",
        f"--peer-batch={args.peer_batch}",
        f"--worker={name}",
    ]
    done = subprocess.run([sys.executable, __file__, *flags], stdout=subprocess.PIPE)
    if done.returncode:
        sys.exit(f"{name} ended with code {done.returncode}; -9 is often lack of memory: lower --peer-batch")
    return pickle.loads(done.stdout)


def main() -> None:
    args = parse_args()
    if args.worker:
        work(args)
        return
    results = {name: measure(args, name) for name in ("ours", "ppdet")}
    print(f"{args.masks} masks on {args.height}x{args.width}; ppdet {args.peer_batch} at a time")
    for name, (grown, seconds, _) in results.items():
        print(f"{name:6s} {grown:10.1f} MB {seconds:8.3f} s")
    (mb, seconds, masks), (peer_mb, peer_seconds, peer_masks) = results["ours"], results["ppdet"]
    pixels = sum(int((a.to_bitmap() != b.to_bitmap()).sum()) for a, b in zip(masks, peer_masks))
    total = sum(mask.area for mask in masks)
    different = sum(a != b for a, b in zip(masks, peer_masks))
    print(f"memory 1/{peer_mb / mb:.0f} (of one batch), time 1/{peer_seconds / seconds:.0f}")
    print(f"{pixels} pixels differ, of {total} set; {different} of {len(masks)} masks differ")


if __name__ == "__main__":
    main()
