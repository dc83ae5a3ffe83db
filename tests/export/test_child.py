"""Converters in a process of their own: what they need, may not do, and how their ends are told."""

import subprocess
import sys
from pathlib import Path

import pytest

from ppdet_ext.errors import UserError
from ppdet_ext.export import child
from ppdet_ext.export.onnx import check_opset


def test_opsets_of_detectors():
    check_opset(11)
    check_opset(16, detector=True)
    with pytest.raises(UserError, match=r"--opset 15: regions of a detector .* from opset 16 on; give 16 to 19"):
        check_opset(15, detector=True)


def test_a_missing_package_is_named_with_the_extra(monkeypatch):
    monkeypatch.setitem(child.PACKAGES, "onnx", ("no_such_package_here",))
    with pytest.raises(UserError, match=r"onnx needs no_such_package_here: pip install '\.\[export\]' in the checkout"):
        child.demand_packages("onnx")


def test_a_converter_starts_no_process():
    code = (
        "import subprocess, sys\nfrom ppdet_ext.export.child import forbid_processes\nforbid_processes()\n"
        "subprocess.run([sys.executable, '-m', 'pip', 'list'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "RuntimeError: a converter may start no process (subprocess.Popen" in done.stderr
    assert "pip" not in done.stdout


def test_an_aborted_converter_is_one_error(tmp_path: Path):
    (tmp_path / "dies.py").write_text("import os\nprint('unsupported: frobnicate', flush=True)\nos.abort()\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(tmp_path))
        with pytest.raises(UserError, match=r"Conversion: the converter was ended by signal 6. It said last:\n  unsupported"):
            child.convert_in_child("dies", [], "Conversion", tmp_path)
        (tmp_path / "full.py").write_text("raise OSError(28, 'No space left on device')")
        with pytest.raises(UserError, match=rf"The disk of {tmp_path} is full\. Make room, or choose another --output"):
            child.convert_in_child("full", [], "Conversion", tmp_path)
