r"""What exact resumption costs: seeds and agreement of every step, records, and checkpoints, at the default settings.

    python benchmarks/bench_checkpoint.py                              # the sample configuration, 40 pairs of steps
    python benchmarks/bench_checkpoint.py --config configs/htc/steel.yml --pairs 3 --epoch_steps 2666 \
        -o LearningRate.schedulers.1.steps=5

In one training every batch is taken twice, once with what resumption needs and once without it, in alternating order: the
difference within such pairs is the cost of a step. Beside it stands the time spent inside each of these parts, which is
measured more finely than it matters. Saves are timed at the end, with the peak of memory, and shared out over the steps between
two of them. Data are drawn sheets of the configuration's own size. `--epoch_steps`: of the real data set, where it is not
drawn (Severstal's fold 0: 5,333 sheets with defects, batch 2).
"""

import argparse
import ctypes
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import ppdet_ext.register  # noqa: E402, F401  before paddle: it sets the threads
from ppdet_ext import distributed  # noqa: E402
from ppdet_ext.checkpoint import Position  # noqa: E402
from ppdet_ext.config.load import load_config  # noqa: E402
from ppdet_ext.data.synthetic import SampleSpec, write_sample_set  # noqa: E402
from ppdet_ext.distributed import interrupt  # noqa: E402
from ppdet_ext.training import train as train_module  # noqa: E402
from ppdet_ext.training import trainer as trainer_module  # noqa: E402
from ppdet_ext.training.hooks import Hook, MetricsFile, SaveCheckpoints  # noqa: E402
from ppdet_ext.training.loss_guard import LossGuard  # noqa: E402
from ppdet_ext.training.state import TrainState  # noqa: E402


def _bare_start(guard: LossGuard, model: Any) -> None:
    guard._sums, guard.skipping = [], False


def _nothing(*args: Any, **kwargs: Any) -> None:
    return None


# What a step has for the sake of resumption and survival, and what stands in its place without.
PARTS: list[tuple[str, Any, str, Callable]] = [
    ("seeds", trainer_module, "seed_step", _nothing),
    ("agreement on signals", interrupt, "agreed", _nothing),
    ("watch on stalls", distributed, "phase", _nothing),
    ("statistics kept for a skipped step", LossGuard, "start_step", _bare_start),
    ("records", MetricsFile, "after_step", _nothing),
    ("question whether to save", SaveCheckpoints, "after_step", _nothing),
]


class Switch:
    """Turns the parts on and off, and sums the seconds spent in each."""

    def __init__(self) -> None:
        self.on = True
        self.seconds = {name: 0.0 for name, *_ in PARTS}
        for name, owner, attribute, instead in PARTS:
            setattr(owner, attribute, self._switched(name, getattr(owner, attribute), instead))

    def _switched(self, name: str, part: Callable, instead: Callable) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not self.on:
                return instead(*args, **kwargs)
            began = time.perf_counter()
            try:
                return part(*args, **kwargs)
            finally:
                self.seconds[name] += time.perf_counter() - began

        return call


class Twice:
    """A loader that gives each batch twice, `pairs` times, and takes the time until the next one is asked for."""

    def __init__(self, loader: Any, pairs: int, switch: Switch) -> None:
        self.loader, self.pairs, self.switch = loader, pairs, switch
        self.seconds: dict[bool, list[float]] = {True: [], False: []}

    def __len__(self) -> int:
        return 2 * self.pairs

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        self.loader.set_epoch(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        source = self._endless()
        for number, batch in zip(range(self.pairs), source):
            for on in (True, False) if number % 2 else (False, True):
                self.switch.on = on
                began = time.perf_counter()
                yield batch
                self.seconds[on].append(time.perf_counter() - began)
        self.switch.on = True

    def _endless(self) -> Iterator[dict[str, Any]]:
        while True:
            yield from self.loader


class Measure(Hook):
    """Has training take its batches from `Twice`, and times saves after it."""

    def __init__(self, folder: Path, pairs: int, saves: int) -> None:
        self.folder, self.pairs, self.saves = folder, pairs, saves
        self.switch = Switch()
        self.save_seconds: list[float] = []
        self.save_bytes = self.memory_before = self.memory_peak = 0

        self._make_loader = train_module.make_loader
        train_module.make_loader = self._make

    def _make(self, cfg: Any, dataset: Any, mode: str) -> Any:
        loader = self._make_loader(cfg, dataset, mode)
        if mode != "train":
            return loader
        self.epoch_steps = len(loader)
        self.loader = Twice(loader, self.pairs, self.switch)
        return self.loader

    def after_epoch(self, state: TrainState) -> None:
        # Freed memory that the process keeps would hide what a save takes. 5 sets the peak back.
        ctypes.CDLL("libc.so.6").malloc_trim(0)
        Path("/proc/self/clear_refs").write_text("5")
        self.memory_before = memory("VmRSS")
        for number in range(self.saves):
            folder, began = self.folder / f"save{number}", time.perf_counter()
            state.save_to(folder, Position(1, 0))
            self.save_seconds.append(time.perf_counter() - began)
        self.memory_peak = memory("VmHWM")
        self.save_bytes = sum(path.stat().st_size for path in folder.iterdir())


def memory(name: str) -> int:
    """Bytes of this process by that name in /proc/self/status."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/htc/steel_sample.yml")
    parser.add_argument("--pairs", type=int, default=40, help="of steps, after a first one that is not counted")
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--epoch_steps", type=int, help="steps of an epoch of the real data set")
    parser.add_argument("-o", "--opt", nargs="+", default=[], help="overrides")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench_checkpoint_") as name:
        folder = Path(name)
        write_sample_set(folder / "sheets", SampleSpec())
        data = [f"{key}.dataset_dir={folder / 'sheets'}" for key in ("TrainDataset", "EvalDataset", "TestDataset")]
        settings = [f"save_dir={folder}/out", "epoch=1", "worker_num=0", "LearningRate.base_lr=1e-6", *data, *args.opt]
        cfg = load_config(str(ROOT / args.config), settings)
        measure = Measure(folder, args.pairs + 1, args.saves)
        train_module.train(cfg, hooks=(measure,))
        report(measure, args.epoch_steps or measure.epoch_steps, cfg.snapshot_epoch)


def report(measure: Measure, epoch_steps: int, snapshot_epoch: int) -> None:
    with_, without = (measure.loader.seconds[on][1:] for on in (True, False))
    step = statistics.median(without)
    difference = statistics.median(a - b for a, b in zip(with_, without))
    ratios = sorted(a / b - 1 for a, b in zip(with_, without))
    inside = {name: seconds / (measure.pairs) for name, seconds in measure.switch.seconds.items()}
    save, between = statistics.median(measure.save_seconds), epoch_steps * snapshot_epoch
    print(f"\nstep without: {step:.3f} s (median of {len(without)})")
    quartiles = ", ".join(f"{100 * ratios[len(ratios) * part // 4]:+.2f}" for part in (1, 2, 3))
    print(f"with, pair by pair: {1000 * difference:+.1f} ms; quartiles of the ratio {quartiles} %")
    total = sum(inside.values())
    print(f"time inside the parts: {1000 * total:.2f} ms = {100 * total / step:.2f} % of a step; of it")
    for name, seconds in inside.items():
        print(f"  {1000 * seconds:6.2f} ms  {name}")
    grown = (measure.memory_peak - measure.memory_before) / 1e6
    print(f"a save: {save:.2f} s (median of {len(measure.save_seconds)}), {measure.save_bytes / 1e6:.0f} MB, ", end="")
    print(f"memory at most {grown:+.0f} MB beside {measure.memory_before / 1e6:.0f} MB")
    print(f"one save in {between} steps ({snapshot_epoch} epochs): {100 * save / (between * step):.2f} % of the time")
    print(
        f"together: {100 * (total + save / between) / step:.2f} % (pairs: {100 * (difference + save / between) / step:+.2f} %)"
    )


if __name__ == "__main__":
    main()
