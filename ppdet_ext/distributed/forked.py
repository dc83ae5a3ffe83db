"""A function over many items by processes forked from this one."""

import multiprocessing
import signal
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from ppdet_ext.data.loading.workers import _end_with_parent, _held_back
from ppdet_ext.errors import WorkerDied

Item = TypeVar("Item")
Result = TypeVar("Result")
_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
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
    with ProcessPoolExecutor(min(workers, len(items)), context, _start) as pool:
        with warnings.catch_warnings(), _held_back(_STOPPING):
            warnings.simplefilter("ignore", DeprecationWarning)
            futures = [pool.submit(_call, item) for item in items]
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


def _start() -> None:
    """What is often sent to all processes is for the main one to deal with; end when that one is gone or says so."""
    for number in (signal.SIGINT, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    _end_with_parent()


def _call(item: Item) -> Result:
    return _function(item)
