"""Processes forked from this one: how they take signals and end, and a function over many items by them."""

import contextlib
import ctypes
import multiprocessing
import os
import signal
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from ppdet_ext.errors import WorkerDied

Item = TypeVar("Item")
Result = TypeVar("Result")
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)
# Set before forking, so that a function with all it refers to need not be pickled.
_function: Callable | None = None


def forked(function: Callable[[Item], Result], items: Sequence[Item], workers: int) -> list[Result]:
    """[function(item), …]; items and results are picklable, the function need not be.

    Args:
        workers: processes; with fewer than two, this one does it.

    Raises:
        WorkerDied: a process was killed.
        Exception: what the function raised.
    """
    global _function
    if workers < 2 or len(items) < 2:
        return [function(item) for item in items]
    _function = function
    # Forked, they see all values as they are here; they use numpy and pycocotools alone, not paddle.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(workers, len(items)), context, _start_process) as pool:
        with warnings.catch_warnings(), held_back():
            warnings.simplefilter("ignore", DeprecationWarning)
            futures: list[Future[Result]] = [pool.submit(_apply, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BrokenProcessPool:
            text = "A process of the search was killed, perhaps for lack of memory. With -o worker_num=0 there is only one."
            raise WorkerDied(text) from None
        except BaseException:
            # Whoever interrupts does not want to wait for what is running.
            for process in list(pool._processes.values()):
                process.terminate()
            raise
        finally:
            _function = None


def _start_process() -> None:
    leave_signals_to_parent(terminable=True)
    end_with_parent()


def _apply(item: Any) -> Any:
    assert _function is not None
    return _function(item)


@contextlib.contextmanager
def held_back() -> Iterator[None]:
    """Keep signals that stop waiting, also in a process forked meanwhile, until it has handlers of its own, not paddle's."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def wakeup_descriptor() -> int:
    """What Python writes signals to, -1 for none. Asked before the fork: in the child Python 3.12's asyncio has dropped it."""
    if threading.current_thread() is not threading.main_thread():
        return -1
    found = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(found, warn_on_full_buffer=False)
    return found


def leave_signals_to_parent(wakeup: int = -1, terminable: bool = False) -> None:
    """In the child: what stops the main process, often sent to all processes, is for that one to deal with.

    Args:
        wakeup: the parent's `wakeup_descriptor`; closed, since held open here it would never end for whoever reads it.
        terminable: SIGTERM ends the child at once.
    """
    for number in _STOPPING:
        signal.signal(number, signal.SIG_DFL if terminable and number == signal.SIGTERM else signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    if wakeup >= 0:
        os.close(wakeup)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)


def end_with_parent() -> None:
    """In the child: let the kernel end it when the process that forked it is gone, even in the middle of a task."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    parent = multiprocessing.parent_process()
    if parent is None or os.getppid() != parent.pid:
        os._exit(1)
