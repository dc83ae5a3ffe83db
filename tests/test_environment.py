"""What surrounds a command: streams that are closed or not read, and a user without a home."""

import ctypes
import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest

from ppdet_ext import environment

ROOT = Path(__file__).resolve().parents[1]
CLOSED = """import os, sys
os.close({number})
sys.{name} = None
from ppdet_ext.environment import muted, open_standard_streams
open_standard_streams()
with muted():
    print("held back")
sys.{name}.write("") if {number} else sys.stdin.read()
with open({path!r}, "w") as file:
    assert file.fileno() > 2, file.fileno()
"""
LOG = """import logging, sys, time
from ppdet_ext.commands.main import set_up_logging
set_up_logging()
for number in range(3000):
    logging.getLogger("ppdet_ext").info("line %d of a log", number)
print("and a print")
print("done", file=sys.stderr)
"""
HEAP = """import ctypes, resource
if {limit!r}:
    resource.setrlimit(getattr(resource, {limit!r}), (1 << 36, 1 << 36))
import ppdet_ext
resident = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
libc = ctypes.CDLL("libc.so.6")
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
block = libc.malloc(64 << 20)
huge = False
for line in open("/proc/self/smaps"):
    if "-" in line.split()[0]:
        first, last = (int(end, 16) for end in line.split()[0].split("-"))
    if line.startswith("VmFlags") and first <= block < last:
        huge = "hg" in line.split()
print(huge, resident < 100 << 20)
"""


@pytest.mark.parametrize(("number", "name"), enumerate(("stdin", "stdout", "stderr")))
def test_a_closed_stream_is_the_null_device(tmp_path, number, name):
    code = CLOSED.format(number=number, name=name, path=str(tmp_path / "file"))
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_log_that_nobody_reads_ends_without_tracebacks():
    with subprocess.Popen(
        [sys.executable, "-c", LOG], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert "line 0 of a log" in run.stdout.readline()
        run.stdout.close()
        error = run.stderr.read()
        assert run.wait(60) == 0
    assert error == "Nobody reads the log any more; the command goes on without it.\ndone\n"


def test_a_user_without_a_home_gets_one_that_nobody_can_write_to(monkeypatch):
    environment.stand_in_home()
    assert os.environ.get("HOME") != "/nonexistent", "a home that there is stays"

    def nobody(_: int) -> None:
        raise KeyError("no such user")

    # Set first, so that it is as before afterwards.
    monkeypatch.setenv("HOME", "/root")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(pwd, "getpwuid", nobody)
    with pytest.raises(RuntimeError):
        Path.home()
    environment.stand_in_home()
    assert Path.home() == Path("/nonexistent")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_engines_report_nothing(engine, tmp_path):
    """Both keep an identifier of the user in the home for what they send over the network."""
    pytest.importorskip(engine)
    words = [sys.executable, "-c", f"import ppdet_ext, {engine}"]
    variables = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    subprocess.run(words, cwd=ROOT, timeout=60, check=True, env={**variables, "HOME": str(tmp_path)})
    assert list(tmp_path.rglob("*")) == []


def test_freed_memory_goes_back_to_the_system_when_told_so():
    libc = ctypes.CDLL("libc.so.6")
    libc.malloc.restype, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    libc.malloc.argtypes, libc.memset.argtypes = [ctypes.c_size_t], [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]

    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    block = libc.malloc(200 << 20)
    libc.memset(block, 1, 200 << 20)
    before = resident()
    libc.free(block)
    assert environment.give_freed_memory_back()
    assert before - resident() > 150 << 20


@pytest.mark.skipif(not Path("/sys/kernel/mm/transparent_hugepage").is_dir(), reason="a system without huge pages")
@pytest.mark.parametrize(
    ("limit", "variables", "huge"),
    [("", {}, True), ("RLIMIT_AS", {}, False), ("RLIMIT_DATA", {}, False), ("", {"MALLOC_ARENA_MAX": "1"}, False)],
    ids=["as a rule", "limited address space", "limited data", "malloc set up by the user"],
)
def test_large_blocks_are_asked_for_in_huge_pages_without_taking_memory(limit, variables, huge):
    done = subprocess.run(
        [sys.executable, "-c", HEAP.format(limit=limit)],
        cwd=ROOT,
        timeout=60,
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
    )
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{huge} True\n")
