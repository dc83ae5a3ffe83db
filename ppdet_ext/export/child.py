"""Converters in a process of their own: they abort it on what they do not know, and one would install packages with pip."""

import ctypes
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ppdet_ext.environment import PACKAGE
from ppdet_ext.errors import UserError

# Names to import, by what they serve; the extra `export` brings them all.
PACKAGES = {"onnx": ("paddle2onnx", "onnx", "onnxruntime"), "openvino": ("paddle2onnx", "onnx", "openvino"), "paddle": ()}
_QUIET = {
    "POLYGRAPHY_AUTOINSTALL_DEPS": "0",
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "GLOG_minloglevel": "3",
}
_EVENTS = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty")
_LINES = 6
_PR_SET_PDEATHSIG, _FULL = 1, "No space left on device"


def demand_packages(format: str, *more: str) -> None:
    """UserError, naming the extra, where a package that a format needs is not installed."""
    missing = [name for name in (*PACKAGES[format], *more) if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"Export to {format} needs {', '.join(missing)}: pip install '.[export]' in the checkout")


def forbid_processes() -> None:
    """From now on this process can start no other one: RuntimeError where something tries, as pip within a converter."""

    def look(event: str, arguments: tuple) -> None:
        if event in _EVENTS:
            raise RuntimeError(f"a converter may start no process ({event} {arguments[:1]})")

    sys.addaudithook(look)


def end_with_parent() -> None:
    """From now on this process ends when the one that started it is killed, where the system is Linux."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def disk_is_full(folder: Path | str) -> UserError:
    """The error that says so. folder: where it was seen."""
    return UserError(
        f"The disk of {folder} is full. Make room, or choose another --output; what is made on the way lies in TMPDIR "
        f"({tempfile.gettempdir()})."
    )


def convert_in_child(module: str, arguments: Sequence[str], what: str, folder: Path) -> None:
    """Run `python -m module arguments` until it ends.

    Args:
        module: of this package; its `main` converts.
        arguments: of it.
        what: it does, for messages.
        folder: it writes into, for messages.

    Raises:
        UserError: it failed, was aborted, or has filled the disk; says the last it has printed.
    """
    path = os.pathsep.join(filter(None, (str(PACKAGE.parent), os.environ.get("PYTHONPATH"))))
    words = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(
        words, env={**os.environ, **_QUIET, "PYTHONPATH": path}, capture_output=True, text=True, errors="replace"
    )
    if done.returncode == 0:
        return
    how = f"was ended by signal {-done.returncode}" if done.returncode < 0 else f"failed with code {done.returncode}"
    told = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()][-_LINES:]
    if any(_FULL in line for line in told):
        raise disk_is_full(folder)
    raise UserError("\n  ".join([f"{what}: the converter {how}. It said last:", *told]))
