"""Ensembles of probability maps: memory and time of 1 and 8 members with 1 and 4 views each, in the same run.

    python benchmarks/bench_map_tta.py [--config configs/unet/unet_resnet18_steel_sample.yml --images 8 --width 1600]

Pictures of noise are read by `ViewLoader` and predicted as `tools/eval.py` predicts them with `Ensemble` and
`TestTimeAugmentation` in the configuration. All members are of that configuration, with weights from scratch of seeds of their
own, in files; the views are the picture as it is and mirrored in three ways. "1 x 1" is the model alone.

Each runs in a process of its own, on two threads. Memory is that process's peak resident set, with malloc told to give freed
memory back at once, so that it is what is in use; seconds are those of an image after a batch to warm up. Ends with code 1
where 8 members with 4 views need more than 1.05 times the memory of one with one view. The sums of the pictures that are
worked on together (`SUMS` of inference/members.py) are part of that.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from bench_tta import FLAT, RETURN_FREED, write_pictures  # noqa: E402

CASES = {"1 x 1": (1, 1), "1 x 4": (1, 4), "8 x 1": (8, 1), "8 x 4": (8, 4)}
FLIPS = ["none", "horizontal", "vertical", "both"]


def parse_args() -> argparse.Namespace:
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--config", default=str(ROOT / "configs/unet/unet_resnet18_steel_sample.yml"))
    parser.add_argument("--images", type=int, default=8, help="pictures that are predicted")
    parser.add_argument("--height", type=int, default=256, help="of the pictures")
    parser.add_argument("--width", type=int, default=1600)
    parser.add_argument("--worker", choices=list(CASES), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    return parser.parse_args()


def make_weights(args: argparse.Namespace, count: int) -> None:
    """Write `count` files of weights from scratch."""
    import paddle

    from ppdet_ext.config.load import load_config
    from ppdet_ext.host.build import build_model

    cfg = load_config(args.config)
    for seed in range(count):
        paddle.seed(seed)
        paddle.save(build_model(cfg).state_dict(), str(args.folder / f"{seed}.pdparams"))


def work(args: argparse.Namespace) -> None:
    """Predict the folder's pictures and print peak MB, and seconds of each image of all batches but the first."""
    from ppdet_ext.config.load import load_config
    from ppdet_ext.data.datasets import ImageFolder
    from ppdet_ext.inference.build import inference_loader, inference_of

    members, views = CASES[args.worker]
    weights = [str(args.folder / f"{seed}.pdparams") for seed in range(members)]
    overrides = [f"weights={weights[0]}"] if members == 1 else [f"Ensemble=[{','.join(weights)}]"]
    if views > 1:
        overrides.append(f"TestTimeAugmentation={{flips: [{', '.join(FLIPS[:views])}]}}")
    cfg = load_config(args.config, [*overrides, "worker_num=0", "TestReader.batch_size=1"], training=False)
    dataset = ImageFolder(str(args.folder / "pictures")).load()
    names = [f"class {number}" for number in range(1, cfg.num_classes + 1)]
    inference = inference_of(cfg, names, list(range(1, cfg.num_classes + 1)), "test")
    seconds, began = [], time.perf_counter()
    for batch in inference_loader(cfg, dataset, "test"):
        inference(batch)
        seconds.append((time.perf_counter() - began) / len(batch["names"]))
        began = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"peak": peak, "seconds": seconds[1:] or seconds}))


def measure(args: argparse.Namespace, case: str) -> dict:
    flags = [f"--config={args.config}", f"--height={args.height}", f"--width={args.width}"]
    command = [sys.executable, __file__, *flags, f"--worker={case}", f"--folder={args.folder}"]
    done = subprocess.run(command, stdout=subprocess.PIPE, env={**os.environ, "OMP_NUM_THREADS": "2", **RETURN_FREED})
    if done.returncode:
        sys.exit(f"{case} ended with code {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def main() -> None:
    args = parse_args()
    if args.worker:
        work(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        args.folder = Path(folder)
        (args.folder / "pictures").mkdir()
        write_pictures(args.folder / "pictures", args.images, args.height, args.width)
        make_weights(args, max(members for members, _ in CASES.values()))
        results = {case: measure(args, case) for case in CASES}
    print(f"{Path(args.config).name}, pictures of {args.height}x{args.width}; members x views")
    print(f"{'':>6s} {'peak MB':>9s} {'s/image':>9s} {'s/view':>8s}")
    for case, result in results.items():
        mean = sum(result["seconds"]) / len(result["seconds"])
        members, views = CASES[case]
        print(f"{case:>6s} {result['peak']:9.0f} {mean:9.2f} {mean / members / views:8.2f}")
    ratio = results["8 x 4"]["peak"] / results["1 x 1"]["peak"]
    print(f"memory of 8 x 4 over 1 x 1: {ratio:.3f} (at most {FLAT})")
    if ratio > FLAT:
        sys.exit(1)


if __name__ == "__main__":
    main()
