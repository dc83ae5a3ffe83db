"""Own data: python tools/import_labels.py annotations.xml --images pictures --out dataset/mine"""

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from ppdet_ext.commands.main import run, script

main = functools.partial(run, "import_labels")

if __name__ == "__main__":
    script("import_labels")
