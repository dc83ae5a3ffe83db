"""Two CPU ranks against one, the same total batch: images per second of training, seconds and numbers of an evaluation.

    python benchmarks/bench_ranks.py [--config configs/htc/steel_sample.yml] [--steps 24] [--rounds 3]

The peers are this project's own runs on one rank, with one thread and with two, in turn with the two ranks.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
# Name -> ranks, threads of each.
SIDES = {"1 rank, 1 thread": (1, 1), "1 rank, 2 threads": (1, 2), "2 ranks, 1 thread each": (2, 1)}
COST = re.compile(r"step of ([\d.]+) s")


def launch(script: Path, ranks: int, threads: int, log: Path, arguments: list[str]) -> str:
    """Run a script on so many ranks; rank 0's output."""
    command = [sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", str(ranks), "--log_dir", str(log)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    done = subprocess.run([*command, str(script), *arguments], cwd=ROOT, capture_output=True, text=True, env=environment)
    text = (log / "workerlog.0").read_text()
    if done.returncode:
        sys.exit(f"{script.name} on {ranks} ranks ended with {done.returncode}:\n{text[-2000:]}")
    return text


def train(config: str, ranks: int, threads: int, steps: int, batch: int, folder: Path) -> float:
    """Median seconds of a step of `batch` images on all ranks together, the first three left out."""
    own = [f"TrainReader.batch_size={batch // ranks}", f"save_dir={folder}", "epoch=99", "worker_num=1", "EvalDataset=null"]
    script = folder / "steps.py"
    script.write_text(STEPS.format(root=str(ROOT), steps=steps))
    text = launch(script, ranks, threads, folder / "log", ["-c", config, "-o", *own])
    costs = [float(cost) for cost in COST.findall(text)]
    if len(costs) < steps:
        sys.exit(f"training on {ranks} ranks gave {len(costs)} steps:\n{text[-2000:]}")
    return statistics.median(costs[3:])


# Prints what each step costs, and ends after so many.
STEPS = """
import sys
sys.path.insert(0, {root!r})
from ppdet_ext.commands import cli, flags
from ppdet_ext.training.hooks import Hook
from ppdet_ext.training.train import train

class Steps(Hook):
    def after_step(self, state):
        print(f"step of {{state.batch_cost:.4f}} s", flush=True)
        if state.iteration + 1 == {steps}:
            sys.exit(0)

train(cli.config_of(flags.train_parser().parse_args()), hooks=[Steps()])
"""


def evaluate(config: str, ranks: int, threads: int, weights: Path, folder: Path) -> tuple[float, list[float]]:
    """Seconds of an evaluation, and its 24 numbers."""
    arguments = ["-c", config, "--output_eval", str(folder), "-o", f"weights={weights}"]
    launch(ROOT / "tools" / "eval.py", ranks, threads, folder / "log_eval", arguments)
    record = json.loads((folder / "eval.json").read_text())
    return record["seconds"], [*record["bbox"], *record["segm"]]


def main() -> int:
    """Print both tables; 1 if the numbers of the evaluations differ between equal numbers of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="configs/htc/steel_sample.yml")
    parser.add_argument("--steps", type=int, default=24)
    parser.add_argument("--batch", type=int, default=4, help="images of a step on all ranks (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--weights", type=Path, help="evaluate these; without it only training is measured")
    arguments = parser.parse_args()
    steps = {side: [] for side in SIDES}
    seconds = {side: [] for side in SIDES}
    numbers = {}
    for number in range(arguments.rounds):
        for side, (ranks, threads) in SIDES.items():
            with tempfile.TemporaryDirectory() as name:
                folder = Path(name)
                steps[side].append(train(arguments.config, ranks, threads, arguments.steps, arguments.batch, folder))
                if arguments.weights:
                    took, numbers[side] = evaluate(arguments.config, ranks, threads, arguments.weights.resolve(), folder)
                    seconds[side].append(took)
            print(f"round {number + 1}/{arguments.rounds}: {side}", file=sys.stderr)
    print(f"{'':24} {'step, s':>8} {'images/s':>9}" + (f" {'evaluation, s':>14}" if arguments.weights else ""))
    for side in SIDES:
        step = statistics.median(steps[side])
        ended = f" {statistics.median(seconds[side]):14.2f}" if arguments.weights else ""
        print(f"{side:24} {step:8.3f} {arguments.batch / step:9.2f}{ended}")
    if not arguments.weights:
        return 0
    same = numbers["1 rank, 1 thread"] == numbers["2 ranks, 1 thread each"]
    print(f"24 numbers of 1 and 2 ranks: {'identical' if same else 'DIFFERENT'}; mask AP {numbers['1 rank, 1 thread'][12]:.6f}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
