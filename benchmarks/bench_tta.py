"""Test-time augmentation: memory and time of 1, 2 and 8 views of a picture, beside the model alone, in the same run.

    python benchmarks/bench_tta.py [--config configs/htc/steel.yml --images 3 --height 256 --width 1600]

Pictures of noise are read by `ViewLoader` and predicted by an `Ensemble` of one member with weights from scratch (seed 0),
its score threshold low enough for as many detections as it may have. The largest view is the reader's own size of the picture,
and is among all: 2 views are that and its mirror image; 8 are it at 1, 0.85, 0.7 and 0.55 of its size, each with its mirror
image. The peer, "model", is the model without `Ensemble` on the same pictures and reader.

Each runs in a process of its own, on two threads. Memory is that process's peak resident set, with malloc told to give freed
memory back at once, so that it is what is in use; seconds, which that makes somewhat longer, are those of an image after one to
warm up. Ends with code 1 where 8 views need more than 1.05 times the memory of 1.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

VIEWS = {"model": 1, "1": 1, "2": 2, "8": 8}
SCALES = (1.0, 0.85, 0.7, 0.55)
FLAT = 1.05
# glibc otherwise keeps what was freed for later, more or less of it from run to run (one view of R50: 1.4 to 2.1 GB).
RETURN_FREED = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "65536"}
SCORE_THRESHOLD = 1e-5


def parse_args() -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--config", default=str(ROOT / "configs/htc/steel_sample.yml"))
    parser.add_argument("--images", type=int, default=3, help="pictures that are timed")
    parser.add_argument("--height", type=int, default=256, help="of the pictures")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--worker", choices=list(VIEWS), help=argparse.SUPPRESS)
    parser.add_argument("--folder", help=argparse.SUPPRESS)
    return parser.parse_args()


def write_pictures(folder: Path, count: int, height: int, width: int) -> None:
    rng = np.random.default_rng(0)
    for number in range(count):
        coarse = rng.normal(120, 50, (-(-height // 16), -(-width // 16), 3))
        pixels = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) + rng.normal(0, 8, (height, width, 3))
        cv2.imwrite(str(folder / f"{number:03d}.png"), pixels.clip(0, 255).astype(np.uint8))


def predictor(args: argparse.Namespace) -> tuple[Callable[[dict], list], list]:
    """What predicts a batch of `ViewLoader`, and the reader's sample_transforms."""
    import paddle

    from ppdet_ext.config.load import load_config
    from ppdet_ext.data.transforms.sample import sample_of
    from ppdet_ext.host.build import build_model
    from ppdet_ext.inference.ensemble import Ensemble, Member
    from ppdet_ext.inference.views import Views
    from ppdet_ext.structures import Record

    cfg = load_config(args.config)
    paddle.seed(0)
    model = build_model(cfg)
    model.eval()
    settings = replace(model.settings, score_threshold=SCORE_THRESHOLD)
    reader = cfg["EvalReader"]["sample_transforms"], cfg["EvalReader"].get("batch_transforms") or ()
    own = Views(*reader)

    if args.worker == "model":

        def alone(batch: dict) -> list:
            rendered, _ = own.render(batch["sample"], 0)
            return model.candidates({**rendered, "image": paddle.to_tensor(rendered["image"])}, settings)

        return alone, reader[0]
    blank = sample_of(Record(0, "", "", args.height, args.width), targets=False)
    blank.image = np.zeros((args.height, args.width, 3), np.uint8)
    frame = own.render(blank, 0)[1]
    sizes = [(round(frame.height * scale), round(frame.width * scale)) for scale in SCALES[: (VIEWS[args.worker] + 1) // 2]]
    resizes = [{"ResizeFixed": {"height": height, "width": width}} for height, width in sizes]
    views = Views(*reader, resizes, ["none", "horizontal"][: VIEWS[args.worker]])
    assert len(views) == VIEWS[args.worker]
    ensemble = Ensemble([Member(model, views)])
    return lambda batch: ensemble.candidates(batch, settings), reader[0]


def work(args: argparse.Namespace) -> None:
    """Predict the folder's pictures and print peak MB, seconds of each image but the first, and detections."""
    from ppdet_ext.data.datasets import ImageFolder
    from ppdet_ext.data.loading.view_loader import ViewLoader

    predict, transforms = predictor(args)
    seconds, found, began = [], 0, time.perf_counter()
    for batch in ViewLoader(ImageFolder(args.folder).load(), transforms):
        found += len(predict(batch)[0])
        seconds.append(time.perf_counter() - began)
        began = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "seconds": seconds[1:], "found": found}))


def measure(args: argparse.Namespace, name: str, folder: str) -> dict:
    flags = [f"--config={args.config}", f"--height={args.height}", f"--width={args.width}"]
    command = [sys.executable, __file__, *flags, f"--worker={name}", f"--folder={folder}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "2", **RETURN_FREED})
    if done.returncode:
        sys.exit(f"{name} ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    args = parse_args()
    if args.worker:
        work(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_pictures(Path(folder), args.images + 1, args.height, args.width)
        results = {name: measure(args, name, folder) for name in VIEWS}
    print(f"{Path(args.config).name}, pictures of {args.height}x{args.width}")
    print(f"{'views':>6s} {'peak MB':>9s} {'s/image':>9s}  seconds of each")
    for name, result in results.items():
        each = " ".join(f"{value:.2f}" for value in result["seconds"])
        print(f"{name:>6s} {result['peak']:9.0f} {np.mean(result['seconds']):9.2f}  {each}  ({result['found']} detections)")
    ratio = results["8"]["peak"] / results["1"]["peak"]
    print(f"memory of 8 views over 1: {ratio:.3f} (at most {FLAT})")
    if ratio > FLAT:
        sys.exit(1)


if __name__ == "__main__":
    main()
