"""Ctrl-C while training: noted at once, acted upon between two batches."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

_requested = threading.Event()


class Interrupted(KeyboardInterrupt):
    """Training was interrupted.

    Attributes:
        saved: newest checkpoint this run has saved, without suffix; None if none.
        resume: what `-r` takes to go on from it.
    """

    def __init__(self, saved: Path | None, resume: str) -> None:
        super().__init__()
        self.saved = saved
        self.resume = resume


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within the block the first Ctrl-C is only noted, for `check` to raise; a second one ends the process at once.

    Paddle turns an exception inside a backward function written in Python into an OSError of its own, so a
    KeyboardInterrupt must not come up there. A step that fails after the Ctrl-C counts as interrupted: the data
    workers got the signal too. Outside the main thread, where Python allows no handlers, nothing is changed.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    _requested.clear()
    before = signal.signal(signal.SIGINT, _note)
    try:
        yield
    except (RuntimeError, OSError, SystemError) as error:
        if _requested.is_set():
            raise KeyboardInterrupt from error
        raise
    finally:
        _requested.clear()
        signal.signal(signal.SIGINT, before)


def check() -> None:
    """Raise the KeyboardInterrupt that `deferred` has noted, if any."""
    if _requested.is_set():
        raise KeyboardInterrupt


def _note(number: int, frame: FrameType | None) -> None:
    _requested.set()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # print and logging must not be called here: the signal may have come in the midst of them.
    os.write(2, b"\nStopping after this step; press Ctrl-C again to stop at once.\n")
