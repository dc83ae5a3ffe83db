"""Train a model: python tools/train.py -c configs/htc/steel_sample.yml --eval"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "train")

if __name__ == "__main__":
    script("train")
