"""A child process: its exit code, a signal that is passed on once, and its end with this one's."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from ppdet_ext.distributed import interrupt
from ppdet_ext.distributed.child import run_child

COUNTING = """
import pathlib, signal, sys, time
count = 0
def note(number, frame):
    global count
    count += 1
signal.signal(signal.SIGTERM, note)
pathlib.Path(sys.argv[1]).touch()
while not count: time.sleep(0.01)
time.sleep(0.3)
sys.exit(count)
"""
SLEEPING = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(str(os.getpid())); time.sleep(60)"
PARENT = """
import sys
from ppdet_ext.distributed.child import run_child
run_child([sys.executable, "-c", *sys.argv[1:]])
"""


@pytest.mark.parametrize(
    ("code", "ended"), [("pass", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", -9)]
)
def test_exit_code(code: str, ended: int) -> None:
    assert run_child([sys.executable, "-c", code]) == ended


def test_a_signal_is_passed_on_once_and_raised_when_the_child_has_ended(tmp_path: Path) -> None:
    def stop() -> None:
        # The child is there once this process's handlers are.
        while not (tmp_path / "there").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    with pytest.raises(interrupt.Stop) as stopped, interrupt.deferred():
        run_child([sys.executable, "-c", COUNTING, str(tmp_path / "there")])
    thread.join()
    assert stopped.value.signum == signal.SIGTERM


def test_a_child_does_not_outlive_its_parent(tmp_path: Path) -> None:
    file = tmp_path / "pid"
    with subprocess.Popen([sys.executable, "-c", PARENT, SLEEPING, str(file)], cwd=Path(__file__).parents[2]) as parent:
        while not file.exists() or not file.read_text():
            assert parent.poll() is None
            time.sleep(0.01)
        parent.kill()
    child = int(file.read_text())
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and Path(f"/proc/{child}").exists() and "Z" not in _state(child):
        time.sleep(0.01)
    assert not Path(f"/proc/{child}").exists() or "Z" in _state(child)


def _state(process: int) -> str:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"
