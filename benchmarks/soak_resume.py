"""Kill a training at random moments, start it again with the same command, compare all it leaves with an undisturbed run.

    python benchmarks/soak_resume.py                          # 20 kills of the sample configuration, about 25 minutes
    python benchmarks/soak_resume.py --epochs 4 --kills 6     # the same, shorter

Each kill is SIGKILL to the whole process group of `tools/train.py -r auto`, at a moment drawn from its whole life, imports
included; every third one falls into a save. After each, all checkpoints there are compared with the undisturbed run's, bit by
bit; at the end of the run records, best and final weights too. A run that is complete before all kills is followed by
another one. Exit code 1 if anything differs or is lost.
"""

import argparse
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "support")]

from same_run import differences  # noqa: E402


@dataclass
class Kill:
    """One kill: seconds after the start, what the process was at, where the run after it went on, what differed."""

    seconds: float
    moment: str
    resumed: str = ""
    compared: int = 0
    wrong: tuple[str, ...] = ()


class Soak:
    """Runs in sub-folders of `folder`; `command` is the same for all of them, which differ by working directory alone."""

    def __init__(self, folder: Path, config: str, overrides: list[str], seed: int) -> None:
        self.folder = folder
        self.run = Path("output", Path(config).stem)
        data = [f"{name}.dataset_dir={folder / 'sheets'}" for name in ("TrainDataset", "EvalDataset", "TestDataset")]
        self.command = [sys.executable, str(ROOT / "tools" / "train.py"), "-c", str((ROOT / config).resolve()), "--eval"]
        self.command += ["-r", "auto", "-o", "save_dir=output", *data, *overrides]
        self.random = random.Random(seed)
        self.expected = folder / "undisturbed" / self.run
        self.seconds = 0.0
        self.process: subprocess.Popen | None = None

    def start(self, folder: Path) -> tuple[subprocess.Popen, Path]:
        """A process group of its own, and its log."""
        folder.mkdir(exist_ok=True)
        log = folder / f"{len(list(folder.glob('*.log'))):02}.log"
        with log.open("wb") as stream:
            streams = {"stdout": stream, "stderr": subprocess.STDOUT}
            self.process = subprocess.Popen(self.command, cwd=folder, start_new_session=True, **streams)
        return self.process, log

    def end(self) -> None:
        """Leave no process behind."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def undisturbed(self) -> None:
        """The run that all others must equal."""
        began = time.monotonic()
        process, log = self.start(self.folder / "undisturbed")
        if process.wait():
            sys.exit(f"the undisturbed run ended with {process.returncode}:\n{log.read_text()[-3000:]}")
        self.seconds = time.monotonic() - began

    def disturb(self, folder: Path, in_save: bool, longest: float) -> Kill | None:
        """Start the run, kill it; None if it was complete before."""
        process, log = self.start(folder)
        began = time.monotonic()
        end = began + self.random.uniform(0, longest)
        wait_in_save = self.random.uniform(0, 0.05)
        saves = folder / self.run / "checkpoints"
        # What an earlier kill left is removed when training begins; a folder that comes after that is of a save.
        left = set(saves.glob(".*.part"))
        while process.poll() is None:
            parts = set(saves.glob(".*.part"))
            left &= parts
            if in_save and parts - left:
                time.sleep(wait_in_save)
                break
            if not in_save and time.monotonic() > end:
                break
            time.sleep(0.001)
        else:
            if process.returncode:
                sys.exit(f"a run ended with {process.returncode}:\n{log.read_text()[-3000:]}")
            return None
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        return Kill(time.monotonic() - began, moment(log, set(saves.glob(".*.part")) - left))

    def compare(self, folder: Path) -> tuple[int, tuple[str, ...]]:
        """Number of complete checkpoints there now, and what of them differs from the undisturbed run's."""
        found = sorted((folder / self.run / "checkpoints").glob("epoch_*"))
        wrong = []
        for path in found:
            wrong += [f"{path.name}/{line}" for line in differences(self.expected / "checkpoints" / path.name, path)]
        return len(found), tuple(wrong)


def moment(log: Path, saves: set[Path]) -> str:
    """What a killed process was doing, as far as can be told."""
    for path in saves:
        return f"saving {path.name[1:-5]}, {len(list(path.iterdir()))} files"
    text = log.read_text(errors="replace")
    steps = re.findall(r"Epoch: \[(\d+)\] \[ *(\d+)/", text)
    if steps:
        return f"after epoch {steps[-1][0]} step {steps[-1][1]}"
    return "before the first step" if "INFO" in text else "imports"


def resumed_from(log: Path) -> str:
    """The checkpoint that the log names; '-' if the process did not come so far."""
    text = log.read_text(errors="replace")
    match = re.search(r"Resumed from \S*/(epoch_\w+)", text)
    return match[1] if match else "anew" if "starting anew" in text else "-"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", default="configs/htc/steel_sample.yml")
    parser.add_argument("--epochs", type=int, help="instead of the configuration's")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--snapshot_iter", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--opt", nargs="+", default=[], help="further overrides")
    args = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    overrides = [f"snapshot_iter={args.snapshot_iter}", "keep_checkpoints=100000", "log_iter=1", *args.opt]
    overrides += [f"epoch={args.epochs}"] if args.epochs else []
    with tempfile.TemporaryDirectory(prefix="soak_resume_") as folder:
        soak = Soak(Path(folder), args.config, overrides, args.seed)
        try:
            soak.undisturbed()
            count, _ = soak.compare(Path(folder) / "undisturbed")
            print(f"undisturbed run: {soak.seconds:.0f} s, {count} checkpoints", flush=True)
            return report(*all_kills(soak, args.kills))
        finally:
            soak.end()


def all_kills(soak: Soak, count: int) -> tuple[list[Kill], list[str]]:
    """`count` kills over as many runs as that takes; the last run is left to end."""
    kills, wrong_ends, runs, began = [], [], 0, time.monotonic()
    # Long enough that a run gets beyond its slowest piece, an evaluation, now and then.
    longest = 10 + soak.seconds / 3
    while len(kills) < count:
        runs += 1
        folder = soak.folder / f"run{runs}"
        while True:
            kill = soak.disturb(folder, len(kills) % 3 == 2, longest) if len(kills) < count else finish(soak, folder)
            note_resumed(kills, folder)
            if kill is None:
                break
            kill.compared, kill.wrong = soak.compare(folder)
            kills.append(kill)
            left = (time.monotonic() - began) / len(kills) * (count - len(kills))
            print(f"kill {len(kills)}/{count} {kill.seconds:5.1f} s, {kill.moment}; ETA {left / 60:.0f} min", flush=True)
        ends = differences(soak.expected, folder / soak.run)
        wrong_ends += [f"run {runs}: {line}" for line in ends]
        print(f"run {runs} is complete and {'differs' if ends else 'identical'}", flush=True)
    return kills, wrong_ends


def finish(soak: Soak, folder: Path) -> None:
    """Let the run come to its end."""
    process, log = soak.start(folder)
    if process.wait():
        sys.exit(f"the last run ended with {process.returncode}:\n{log.read_text()[-3000:]}")


def note_resumed(kills: list[Kill], folder: Path) -> None:
    """Where the newest process of a run began belongs to the kill before it."""
    logs = sorted(folder.glob("*.log"))
    start = resumed_from(logs[-1])
    for kill in reversed(kills[-len(logs) + 1 :] if len(logs) > 1 else []):
        if kill.resumed not in ("", "-"):
            break
        # A process killed before it came so far has changed nothing: the next one tells of this kill too.
        kill.resumed = start


def report(kills: list[Kill], wrong_ends: list[str]) -> int:
    """Print the table; the exit code."""
    print(f"\n| {'kill':>4} | {'s':>6} | {'moment':40} | {'then resumed from':20} | identical |\n|---|---|---|---|---|")
    for number, kill in enumerate(kills, 1):
        same = "no" if kill.wrong else f"yes, {kill.compared}"
        print(f"| {number:4} | {kill.seconds:6.1f} | {kill.moment:40} | {kill.resumed:20} | {same:9} |")
    for line in [*(line for kill in kills for line in kill.wrong), *wrong_ends]:
        print(f"differs: {line}")
    good = sum(not kill.wrong for kill in kills) if not wrong_ends else 0
    print(f"{good}/{len(kills)} bit-identical to the undisturbed run")
    return 0 if good == len(kills) else 1


if __name__ == "__main__":
    sys.exit(main())
