"""Files for label tools: python tools/export_labels.py -c configs/htc/steel.yml --to cvat --out output/cvat"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "export_labels")

if __name__ == "__main__":
    script("export_labels")
