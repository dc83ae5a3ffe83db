"""A configuration for own data: python tools/new_config.py dataset/mine/train.csv --images dataset/mine/train"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "new_config")

if __name__ == "__main__":
    script("new_config")
