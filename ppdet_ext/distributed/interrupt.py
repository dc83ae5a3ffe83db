"""Signals while training: noted at once, acted upon between two steps, by all ranks after the same one."""

import contextlib
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import numpy as np

from .environment import launched
from .session import sum_over_ranks

logger = logging.getLogger("ppdet_ext")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
# paddle.distributed.launch passes a signal on three times as SIGTERM, to one rank after the other.
LAUNCHER_SECONDS = 5.0
# A forked child may keep the pipe open, so its end would not tell.
_END = b"\0"
_noted: list[int] = []


class Stop(KeyboardInterrupt):
    """The run was told to stop by the signal `signum`."""

    def __init__(self, signum: int) -> None:
        super().__init__()
        self.signum = signum


class Interrupted(Stop):
    """Training was stopped by a signal.

    Attributes:
        saved: newest checkpoint of this run; None if none.
        resume: what `-r` takes to go on from it.
    """

    def __init__(self, signum: int, saved: Path | None, resume: str) -> None:
        super().__init__(signum)
        self.saved = saved
        self.resume = resume


@contextlib.contextmanager
def deferred() -> Iterator[None]:
    """Within the block the first SIGINT, SIGTERM or SIGUSR1 is only noted; a second one ends the process at once.

    Paddle turns an exception inside a backward function written in Python into an OSError of its own, so a
    KeyboardInterrupt must not come up there. A step that fails after a signal counts as stopped. Blocks may be nested;
    outside the main thread, where Python allows no handlers, nothing is changed.
    """
    nested = signal.getsignal(signal.SIGTERM) is _note
    if nested or threading.current_thread() is not threading.main_thread():
        yield
        return
    _noted.clear()
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    try:
        with _second_signal_exits():
            # Those that the tool has held back since its start come in now.
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            yield
    except (RuntimeError, OSError, SystemError) as error:
        if _noted:
            logger.error("%s, after %s", f"{type(error).__name__}: {error}", signal.Signals(_noted[0]).name)
            raise Stop(_noted[0]) from error
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _noted.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def requested() -> int | None:
    """Number of the signal that `deferred` has noted, if any."""
    return _noted[0] if _noted else None


def check() -> None:
    """Raise `Stop` if a signal has been noted."""
    if _noted:
        raise Stop(_noted[0])


def agreed() -> int | None:
    """The signal that any rank has noted; the same answer on every rank, each of which must ask."""
    heard = sum_over_ranks(np.array([requested() == number for number in SIGNALS], np.float64))
    return next((int(number) for number, count in zip(SIGNALS, heard) if count), None)


def _note(number: int, frame: FrameType | None) -> None:
    if not _noted:
        _noted.append(number)


@contextlib.contextmanager
def _second_signal_exits() -> Iterator[None]:
    """A thread does it: Python runs no handlers while the main thread is inside an operator that hangs."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    former = signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    thread = threading.Thread(target=_listen, args=(reader,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(former)
        os.write(writer, _END)
        os.close(writer)
        thread.join()


def _listen(reader: int) -> None:
    """Until `_END` comes; each other byte is a signal's number."""
    ignored = LAUNCHER_SECONDS if launched() else 0.0
    first: float | None = None
    while (byte := os.read(reader, 1)) not in (_END, b""):
        number = byte[0]
        if number not in SIGNALS:
            continue
        if first is None:
            first = time.monotonic()
            name = signal.Signals(number).name
            with contextlib.suppress(OSError):
                os.write(2, f"\n{name}: stopping after this step; once more stops at once.\n".encode())
        elif time.monotonic() - first > ignored:
            os._exit(128 + number)
    os.close(reader)
