"""From nothing to a submission in one command: python tools/demo.py (`make demo` installs first)."""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "demo")

if __name__ == "__main__":
    script("demo")
