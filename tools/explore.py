"""A page about a data set before training: python tools/explore.py -c configs/htc/steel_sample.yml"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "explore")

if __name__ == "__main__":
    script("explore")
