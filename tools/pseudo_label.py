"""Pseudo-labels: python tools/pseudo_label.py -c configs/htc/steel.yml -o weights=output/steel/best_model --score 0.8"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "pseudo_label")

if __name__ == "__main__":
    script("pseudo_label")
