"""A function over many items by processes forked from this one."""

import contextlib
import multiprocessing
import signal
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from ppdet_ext.data.workers import _end_with_parent, _held_back

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
        BrokenProcessPool: a process has died.
        Exception: what the function raised.
    """
    global _function
    if workers < 2 or len(items) < 2:
        return [function(item) for item in items]
    _function = function
    # Forked, they see all values as they are here; they use numpy and pycocotools alone, not paddle.
    context = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(min(workers, len(items)), context, _start) as pool:
        with warnings.catch_warnings(), _waiting():
            warnings.simplefilter("ignore", DeprecationWarning)
            futures = [pool.submit(_call, item) for item in items]
        try:
            return [future.result() for future in futures]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
        finally:
            _function = None


def _waiting() -> contextlib.AbstractContextManager:
    return _held_back(_STOPPING)


def _start() -> None:
    """What stops the main process, often sent to all processes, is for that one to deal with; and end when it is gone."""
    for number in _STOPPING:
        signal.signal(number, signal.SIG_IGN)
    signal.set_wakeup_fd(-1)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
    _end_with_parent()


def _call(item: Item) -> Result:
    return _function(item)
