"""Average checkpoints: python tools/average.py -c configs/htc/steel.yml 18 19 20 --output output/steel/averaged.pdparams"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "average")

if __name__ == "__main__":
    script("average")
