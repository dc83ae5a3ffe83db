"""The page about the runtime: its script runs, and finds what is there."""

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from runtime_models import write_folder

# As in an environment without what training needs.
ALONE = "import sys; sys.modules.update(dict.fromkeys(('paddle', 'ppdet', 'scipy', 'pandas', 'matplotlib')))\n"


def test_the_script_of_the_page(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime")
    text = (root / "docs" / "runtime.md").read_text(encoding="utf-8")
    script = text.split("```python\n")[1].split("```")[0]
    assert len(script.splitlines()) <= 20
    (tmp_path / "sheets").mkdir()
    cv2.imwrite(str(tmp_path / "sheets" / "a.png"), np.full((32, 48, 3), 255, np.uint8))
    words = [str(write_folder(tmp_path / "model")), str(tmp_path / "sheets")]
    done = subprocess.run([sys.executable, "-c", ALONE + script, *words], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "a.png: 32x48 px"
    assert lines[1].startswith("  pit 1.00 at (2, 2) to (14, 10), ")
    assert lines[-1] == "2 defects"
