"""The package as a whole: quiet import, registration, configurations, house rules of the repository."""

import os
import subprocess
import sys

import paddle
import pytest
from ppdet.core.workspace import global_config

from ppdet_ext import environment


def test_import_is_quiet_and_registers(root):
    code = (
        "import ppdet_ext.register; from ppdet.core.workspace import global_config as g; "
        "assert {'HybridTaskCascade', 'HTCRoIHead', 'SteelDataSet', 'CocoJsonDataSet', 'FashionDataSet', 'MixedDataSet'} "
        "<= set(g), sorted(g)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def test_ranks_alone_import_quietly(root, monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")  # paddle warns of more than one
    run = subprocess.run([sys.executable, "-c", "import ppdet_ext.distributed"], cwd=root, capture_output=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


def test_every_part_is_registered():
    for name in ("HTCResNet", "HTCRPNHead", "FusedSemanticHead", "HTCRoIHead", "HybridTaskCascade"):
        assert name in global_config


def test_logs_made_while_importing_write_where_others_do(root):
    code = "import ppdet_ext.distributed, logging; logging.getLogger('ppdet_ext').warning('hello')"
    run = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert run.stderr.rstrip().endswith("hello")
    assert "Logging error" not in run.stderr


def test_muted_block_gives_its_noise_out_when_it_fails(capfd):
    with environment.muted():
        print("noise")
        os.write(2, b"C noise")
    assert capfd.readouterr() == ("", "")
    with pytest.raises(ModuleNotFoundError), environment.muted():
        __import__(f"no_such_module_{os.write(2, b'the cause')}")
    assert "the cause" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("vendor", "flags", "kind"),
    [("AuthenticAMD", "sse avx2 avx512f", "7"), ("AuthenticAMD", "sse avx2", "5"), ("GenuineIntel", "avx512f", None)],
)
def test_matrix_library_is_told_about_amd(monkeypatch, vendor, flags, kind):
    monkeypatch.setattr(environment, "cpu_facts", lambda: {"vendor_id": vendor, "flags": flags})
    # setenv first, so that what the call sets is taken back after the test.
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "x")
    monkeypatch.delenv("MKL_DEBUG_CPU_TYPE")
    environment.tune_environment()
    assert os.environ.get("MKL_DEBUG_CPU_TYPE") == kind


def test_settings_of_the_user_stay(monkeypatch):
    monkeypatch.setattr(environment, "cpu_facts", lambda: {"vendor_id": "AuthenticAMD", "flags": ""})
    monkeypatch.setenv("MKL_DEBUG_CPU_TYPE", "3")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    environment.tune_environment()
    assert (os.environ["MKL_DEBUG_CPU_TYPE"], os.environ["OMP_NUM_THREADS"]) == ("3", "1")


def test_host_may_concatenate_counts():
    joined = paddle.concat([paddle.to_tensor(2), paddle.to_tensor([3, 4])])
    assert joined.tolist() == [2, 3, 4]
    assert paddle.concat([paddle.ones([2, 1]), paddle.zeros([2, 2])], axis=1).shape == [2, 3]
