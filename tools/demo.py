"""From nothing to a submission in one command: python tools/demo.py (`make demo` installs first)."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
CONFIG = "configs/htc/steel_sample.yml"
RUN = Path("output/steel_sample")
PICTURES = Path("output/demo")


def tool(name: str, *flags: str) -> None:
    """Run a tool of this folder; its exit code ends the demo if it is not 0."""
    command = [sys.executable, f"tools/{name}.py", *flags]
    print(f"\n$ python {' '.join(command[1:])}", flush=True)
    code = subprocess.run(command, cwd=ROOT, check=False).returncode
    if code in (130, 143):
        print("`make demo` goes on from there.", file=sys.stderr)
    if code:
        sys.exit(code)


def main() -> None:
    """Train (or go on training), evaluate, draw, write a submission, sum up."""
    started = float(os.environ.get("DEMO_STARTED", time.time()))
    config = ("-c", CONFIG)
    tool("train", *config, "-r", "auto")
    tool("eval", *config, "--classwise")
    tool("infer", *config, "--save_results", "--output_dir", str(PICTURES))
    tool("submit", *config, "--results", str(PICTURES), "--output", str(PICTURES / "submission.csv"))
    numbers = json.loads((ROOT / RUN / "eval.json").read_text())
    print(f"\n{'held-out sheets':16} {'AP':>6} {'AP50':>6}")
    for kind, name in (("bbox", "boxes"), ("segm", "masks")):
        print(f"{name:16} {numbers[kind][0]:6.3f} {numbers[kind][1]:6.3f}")
    print(f"{time.time() - started:.0f} seconds. Weights: {RUN / 'model_final.pdparams'}, pictures: {PICTURES}/, ", end="")
    print(f"submission: {PICTURES / 'submission.csv'}")


if __name__ == "__main__":
    # Ctrl-C reaches the running tool too, which ends in order; this process waits for it and says how to go on.
    signal.signal(signal.SIGINT, lambda *_: None)
    main()
