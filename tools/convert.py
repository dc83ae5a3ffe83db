"""Convert checkpoints of other frameworks: python tools/convert.py unet_resnet50.pth unet.pdparams -c configs/unet/….yml"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "convert")

if __name__ == "__main__":
    script("convert")
