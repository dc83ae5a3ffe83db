"""The command behind tools/demo.py: train, evaluate, draw and submit, each as its user would call it."""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from ppdet_ext.environment import PACKAGE, ROOT

from .flags import PROGRAM

CONFIG = "configs/htc/steel_sample.yml"
RUN = Path("output/steel_sample")
PICTURES = Path("output/demo")


class Failed(SystemExit):
    """A command of the demo ended with this exit code, having said why."""


def run(args: argparse.Namespace) -> None:
    """Train (or go on training), evaluate, draw, write a submission, sum up. Raises: Failed."""
    # Ctrl-C reaches the running command too, which ends in order; this process waits for it and says how to go on.
    signal.signal(signal.SIGINT, lambda *_: None)
    started = float(os.environ.get("DEMO_STARTED", time.time()))
    config = ("-c", CONFIG)
    _command("train", *config, "-r", "auto")
    _command("eval", *config, "--classwise")
    _command("infer", *config, "--save_results", "--output_dir", str(PICTURES))
    _command("submit", *config, "--results", str(PICTURES), "--output", str(PICTURES / "submission.csv"))
    numbers = json.loads((_folder() / RUN / "eval.json").read_text())
    print(f"\n{'held-out sheets':16} {'AP':>6} {'AP50':>6}")
    for kind, name in (("bbox", "boxes"), ("segm", "masks")):
        print(f"{name:16} {numbers[kind][0]:6.3f} {numbers[kind][1]:6.3f}")
    print(f"{time.time() - started:.0f} seconds. Weights: {RUN / 'model_final.pdparams'}, pictures: {PICTURES}/, ", end="")
    print(f"submission: {PICTURES / 'submission.csv'}")
    print(f"Next: {_called('report')} --run {RUN}\n      {_called('view')} --run {RUN}")


def _folder() -> Path:
    """Where the demo's `output` lies: the checkout, or, installed without one, the working directory."""
    return Path.cwd() if ROOT == PACKAGE else ROOT


def _called(name: str) -> str:
    """A command as it may be typed in `_folder`, with the Python that runs the demo where that lies below it."""
    if Path(sys.argv[0]).name == PROGRAM:
        return f"{PROGRAM} {name}"
    python = Path(sys.executable)
    return f"{python.relative_to(ROOT) if python.is_relative_to(ROOT) else 'python'} tools/{name}.py"


def _command(name: str, *flags: str) -> None:
    """Run a command in a process of its own. Raises: Failed with its exit code if that is not 0."""
    installed = Path(sys.argv[0]).name == PROGRAM
    shown, words = ([PROGRAM], [sys.argv[0], name]) if installed else (["python"], [str(ROOT / "tools" / f"{name}.py")])
    print(f"\n$ {shlex.join([*shown, *([name] if installed else [f'tools/{name}.py']), *flags])}", flush=True)
    code = subprocess.run([sys.executable, *words, *flags], cwd=_folder(), check=False).returncode
    if code in (130, 143):
        print("`make demo` goes on from there.", file=sys.stderr)
    if code:
        raise Failed(code)
