"""Split a data set: python tools/split.py -c configs/htc/steel.yml --folds 5 (or --holdout 450)"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "split")

if __name__ == "__main__":
    script("split")
