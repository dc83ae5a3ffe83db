"""A page about a model: python tools/report.py -c configs/htc/steel.yml -o weights=output/steel/best_model"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "report")

if __name__ == "__main__":
    script("report")
