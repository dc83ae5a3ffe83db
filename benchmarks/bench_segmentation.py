"""Time and memory of segmentation nets beside segmentation_models_pytorch (SMP) on torch, in the same run.

    python benchmarks/bench_segmentation.py [--peer SMP_VENV/bin/python] [--models unet-resnet50 …] [--modes infer train]
        [--size 256 1600] [--batch 2] [--repeats 3] [--profile]

Both have fresh random weights and four classes; the same threads (2).
  infer   logits of a batch, no gradients
  train   a training step: zero_grad, forward, binary cross-entropy with logits, backward, Adam

SMP is no dependency of this project. A virtual environment with it:
    pip install torch==2.13.0 torchvision==0.28.0 segmentation-models-pytorch==0.6.0 timm==1.0.31

Each row runs in a process of its own; memory is that process's peak resident set, with the imports. Seconds are the best of the
repeats after one warm-up, because a shared machine only ever adds time; CPU seconds are the process's own in that repeat, of
all threads. "others" is how many other cores were busy meanwhile: from about 0.2 on the seconds are not to be trusted.
--profile prints Paddle's operators by time, of our side alone.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("unet-resnet50", "fpn-se_resnext50_32x4d", "unet-efficientnet-b3")
MODES = ("infer", "train")
THREADS = "2"
CLASSES = 4
SMP_NAMES = {"unet": "Unet", "fpn": "FPN", "pspnet": "PSPNet", "linknet": "Linknet", "unetplusplus": "UnetPlusPlus"}


def our_task(model: str, mode: str, batch: int, size: list[int]) -> Callable[[], Any]:
    """A pass through our network, ready to be timed."""
    sys.path.insert(0, str(ROOT))
    import ppdet_ext.register  # noqa: F401, I001  it sets threads up, as every command does, before paddle is imported
    import paddle
    import paddle.nn.functional as F
    from ppdet_ext.modeling.backbones import build_encoder
    from ppdet_ext.modeling.segmentation import decoders
    from ppdet_ext.modeling.segmentation.segmentor import SemanticSegmentor

    paddle.seed(0)
    arch, encoder_name = model.split("-", 1)
    names = {"unet": "UNet", "unetplusplus": "UNetPlusPlus", "pspnet": "PSP"}
    cls = getattr(decoders, names.get(arch, SMP_NAMES[arch]) + "Decoder")
    encoder = build_encoder(encoder_name, depth=3 if arch == "pspnet" else 5)
    decoder = cls(encoder_channels=[3, *(shape.channels for shape in encoder.out_shape)])
    net = SemanticSegmentor(encoder, decoder, CLASSES)
    x = paddle.randn([batch, 3, *size])
    target = (paddle.rand([batch, CLASSES, *size]) < 0.1).astype("float32")
    if mode == "infer":
        net.eval()

        def infer() -> None:
            with paddle.no_grad():
                net.logits(x)

        return infer
    net.train()
    optimizer = paddle.optimizer.Adam(1e-4, parameters=[p for p in net.parameters() if not p.stop_gradient])

    def train() -> None:
        optimizer.clear_grad()
        F.binary_cross_entropy_with_logits(net.logits(x), target).backward()
        optimizer.step()

    return train


def peer_task(model: str, mode: str, batch: int, size: list[int]) -> Callable[[], Any]:
    """The same pass through SMP's network, in an interpreter that has it."""
    import torch

    torch.set_num_threads(int(THREADS))
    _import_torchvision(torch)
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    arch, encoder = model.split("-", 1)
    net = getattr(smp, SMP_NAMES[arch])(encoder, encoder_weights=None, classes=CLASSES)
    x = torch.randn(batch, 3, *size)
    target = (torch.rand(batch, CLASSES, *size) < 0.1).float()
    if mode == "infer":
        net.eval()

        def infer() -> None:
            with torch.inference_mode():
                net(x)

        return infer
    net.train()
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-4)

    def train() -> None:
        optimizer.zero_grad()
        torch.nn.functional.binary_cross_entropy_with_logits(net(x), target).backward()
        optimizer.step()

    return train


def _import_torchvision(torch: Any) -> None:
    """Import it beside a torch for CPUs: its own operators, which SMP does not call, are declared in place of loaded."""
    library = None
    while True:
        try:
            import torchvision  # noqa: F401

            return
        except RuntimeError as error:
            if "torchvision::" not in str(error) or "does not exist" not in str(error):
                raise
            for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
                del sys.modules[name]
            library = library or torch.library.Library("torchvision", "FRAGMENT")
            library.define(str(error).split("torchvision::")[1].split()[0] + "(Tensor dets, Tensor scores, float t) -> Tensor")


def busy() -> float:
    """CPU seconds of the whole machine so far."""
    ticks = [int(part) for part in Path("/proc/stat").read_text().split("\n")[0].split()[1:]]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def measure(task: Callable[[], Any], repeats: int) -> dict[str, float]:
    """Best seconds of a task, and what went with them."""
    task()
    runs = []
    for _ in range(repeats):
        machine, own, start = busy(), time.process_time(), time.perf_counter()
        task()
        wall = time.perf_counter() - start
        own = time.process_time() - own
        runs.append({"seconds": wall, "cpu": own, "others": max(0.0, busy() - machine - own) / wall})
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {**min(runs, key=lambda run: run["seconds"]), "mb": peak}


def profile(task: Callable[[], Any]) -> None:
    """Print Paddle's operators by their time in one pass."""
    import paddle.profiler as profiler

    task()
    with profiler.Profiler(targets=[profiler.ProfilerTarget.CPU], timer_only=False) as run:
        task()
    run.summary(sorted_by=profiler.SortedKeys.CPUTotal, op_detail=False, thread_sep=False)


def worker(args: argparse.Namespace) -> None:
    """Run one row in this process and print it as JSON."""
    task = (our_task if args.worker == "ours" else peer_task)(args.models[0], args.modes[0], args.batch, args.size)
    if args.profile:
        profile(task)
    else:
        print(json.dumps(measure(task, args.repeats)))


def row(side: str, python: str, model: str, mode: str, args: argparse.Namespace) -> dict[str, float]:
    """Measure one row in a process of its own. Raises: SystemExit with its last words if it fails."""
    command = [python, __file__, "--worker", side, "--models", model, "--modes", mode, "--batch", str(args.batch)]
    command += ["--repeats", str(args.repeats), "--size", *map(str, args.size), *(["--profile"] if args.profile else [])]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": THREADS})
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    if args.profile:
        print(done.stdout)
        return {}
    return json.loads(done.stdout.strip().split("\n")[-1])


def main() -> None:
    """Print a table; ours and the peer's rows alternate, so that both meet the same machine."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter with segmentation_models_pytorch")
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="decoder-encoder, as SMP names them")
    parser.add_argument("--modes", nargs="+", choices=MODES, default=list(MODES))
    parser.add_argument("--size", nargs=2, type=int, default=[256, 1600], metavar=("HEIGHT", "WIDTH"))
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--profile", action="store_true")
    parser.add_argument("--worker", choices=["ours", "peer"], help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        worker(args)
        return
    sides = {"ours": sys.executable} | ({"peer": args.peer} if args.peer and not args.profile else {})
    print(f"{'model':26}{'mode':7}{'side':6}{'seconds':>9}{'CPU s':>9}{'peak MB':>9}{'others':>8}")
    for model in args.models:
        for mode in args.modes:
            for side, python in sides.items():
                if found := row(side, python, model, mode, args):
                    seconds, cpu, mb, others = (found[key] for key in ("seconds", "cpu", "mb", "others"))
                    print(f"{model:26}{mode:7}{side:6}{seconds:9.2f}{cpu:9.2f}{mb:9.0f}{others:8.1f}", flush=True)


if __name__ == "__main__":
    main()
