"""Export a model: python tools/export.py -c configs/unet/….yml -o weights=… --format onnx"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "export")

if __name__ == "__main__":
    script("export")
