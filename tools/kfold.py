"""Train and tune on folds: python tools/kfold.py -c configs/unet/unet_resnet50_steel.yml --folds 5 --metric SeverstalDice"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "kfold")

if __name__ == "__main__":
    script("kfold")
