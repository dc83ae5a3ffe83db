"""Convert weights of mmdetection: python tools/convert_mmdet.py htc_r50_fpn_1x_coco.pth htc.pdparams -c configs/htc/….yml"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "convert_mmdet")

if __name__ == "__main__":
    script("convert_mmdet")
