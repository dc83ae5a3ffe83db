"""A command in a process of its own, which is told what this one is told, and ends with it."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import time
from collections.abc import Sequence

from . import interrupt

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
_POLL_SECONDS = 0.1


def run_child(words: Sequence[str], parent_killed: int = signal.SIGKILL) -> int:
    """Run a command until it ends; returns its exit code, negative for the signal that ended it.

    It is in a session of its own, so that Ctrl-C reaches it once, from here: a training ends at once on a second one. When
    this process is killed, so is the child.

    Args:
        words: program and arguments.
        parent_killed: signal that the child then gets; SIGTERM for one that has children of its own to end.

    Raises:
        Stop: this process was told to stop within `interrupt.deferred`; the child was told too, and has ended.
    """
    parent = os.getpid()

    def begin() -> None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, parent_killed)
        # What this process holds back while it imports is not the child's business.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, interrupt.SIGNALS)
        if os.getppid() != parent:
            os._exit(1)

    child = subprocess.Popen(list(words), start_new_session=True, preexec_fn=begin)
    try:
        code = _wait(child)
    except BaseException:
        child.kill()
        child.wait()
        raise
    interrupt.check()
    return code


def _wait(child: subprocess.Popen) -> int:
    """The exit code, after the first signal that comes meanwhile was passed on."""
    told = False
    while (code := child.poll()) is None:
        number = interrupt.requested()
        if number is not None and not told:
            told = True
            child.send_signal(number)
        time.sleep(_POLL_SECONDS)
    return code
