"""How often the host waits for the device, and how long it works on boxes.

    python benchmarks/bench_host_reads.py [--size 800 1344] [--classes 80] [--objects 20] [--repeats 3]

Reads are counted of a tiny HTC with masks and a semantic branch, two images a batch; their number does not depend on its size.
Seconds are those of the work on boxes alone, of one image, with scores and boxes spread so that NMS keeps as many proposals as
are wanted (2,000 in training, 1,000 in inference): in numpy, as a CPU has it and every device had it before, and as tensors of
fixed size, which here run on the CPU as well. Median of the repeats after one warm-up.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

import ppdet_ext.register  # noqa: E402, F401, I001  first: it sets threads and silences the host
import paddle  # noqa: E402
from host_reads import counted_reads  # noqa: E402
from reference_model import random_batch, reference_model  # noqa: E402

from ppdet_ext.modeling.detection import HTCRPNHead, on_device  # noqa: E402
from ppdet_ext.modeling.detection.assignment import IoUAssigner, RoISampler, keys_of  # noqa: E402
from ppdet_ext.modeling.detection.tensor_assignment import assign, sample, sampled  # noqa: E402
from ppdet_ext.modeling.ops.boxes import select_objects  # noqa: E402
from ppdet_ext.modeling.ops.seam import plain_operators  # noqa: E402
from ppdet_ext.structures import TestSettings  # noqa: E402


def reads() -> None:
    """Count the reads of a training step and of an inference."""
    model, batch = reference_model("tiny_a"), random_batch(5)
    with plain_operators():
        model.train()
        with counted_reads() as step:
            model(batch)["loss"].backward()
        model.eval()
        with counted_reads() as inference:
            model.candidates(batch, model.settings)
    print(f"reads: training step {len(step)} (and 1 of the losses by the trainer), inference {len(inference)}")


def timed(work: Callable[[], object], repeats: int) -> float:
    """Median of seconds."""
    work()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - start)
    return float(np.median(seconds))


def seconds(args: argparse.Namespace) -> None:
    """Time the work on boxes, on both sides."""
    rng, (height, width) = np.random.default_rng(0), args.size
    head, shapes = HTCRPNHead(8), np.array([args.size], np.float32)
    sizes = [(-(-height // s), -(-width // s)) for s in head.grid.strides]
    logits = [paddle.to_tensor(rng.normal(-4, 2, (1, 3, *size)).astype(np.float32)) for size in sizes]
    deltas = [paddle.to_tensor(rng.normal(0, 0.3, (1, 12, *size)).astype(np.float32)) for size in sizes]
    corner = rng.uniform(0, 1, (args.objects, 2)) * (np.array([width, height]) - 200)
    objects = np.concatenate([corner, corner + rng.uniform(20, 200, corner.shape)], 1).astype(np.float32)
    t, im_shape, rows = paddle.to_tensor, paddle.to_tensor(shapes), []
    for training in (True, False):
        chosen = head.settings(training)
        kept = len(head.proposals(logits, deltas, shapes, chosen)[0])
        arrays = timed(lambda chosen=chosen: head.proposals(logits, deltas, shapes, chosen), args.repeats)
        tensors = timed(lambda chosen=chosen: on_device.propose(head, logits, deltas, im_shape, chosen).scores, args.repeats)
        rows.append((f"{kept} proposals, {'training' if training else 'inference'}", arrays, tensors))
    anchors, known = head.anchors(sizes), head.known(sizes, height, width)
    keys = keys_of(np.random.default_rng(0), len(anchors))
    arrays = timed(lambda: head.targets(sizes, objects, height, width, np.random.default_rng(0)), args.repeats)

    def on_tensors() -> object:
        return sampled(assign(head.assigner, t(anchors), t(objects), t(known)), 256, 0.5, t(keys))

    rows.append((f"targets of {len(anchors)} anchors, {args.objects} objects", arrays, timed(on_tensors, args.repeats)))
    boxes, sampler = head.proposals(logits, deltas, shapes, head.settings(True))[0], RoISampler(IoUAssigner(0.5, 0.5, 0.5))
    keys = keys_of(np.random.default_rng(0), len(objects) + len(boxes))
    arrays = timed(lambda: sampler(boxes, objects, np.random.default_rng(0)), args.repeats)
    valid = np.ones(len(boxes), bool)
    tensors = timed(lambda: sample(sampler, t(boxes), t(valid), t(objects), t(keys)), args.repeats)
    rows.append((f"a stage's sample of {len(boxes)} proposals", arrays, tensors))
    scores = rng.dirichlet(np.full(args.classes, 0.05), 1000).astype(np.float32) * rng.random((1000, 1)).astype(np.float32)
    settings = TestSettings(score_threshold=0.05)
    arrays = timed(lambda: select_objects(boxes[:1000], scores, settings), args.repeats)
    tensors = timed(lambda: on_device.select(t(boxes[:1000]), t(scores), settings), args.repeats)
    rows.append((f"objects of 1000 regions, {args.classes} classes", arrays, tensors))
    print(f"{'seconds an image':44}{'numpy':>9}{'tensors':>9}")
    for name, arrays, tensors in rows:
        print(f"{name:44}{arrays:9.4f}{tensors:9.4f}")


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1344), metavar=("H", "W"))
    parser.add_argument("--classes", type=int, default=80)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    reads()
    seconds(args)


if __name__ == "__main__":
    main()
