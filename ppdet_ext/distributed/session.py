"""What the ranks of this process's run do together. On one rank everything is trivial."""

import contextlib
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ppdet_ext.errors import DivergenceError, RankError, UserError, WorkerDied

from . import phases
from .channel import Channel
from .connections import Links
from .environment import world
from .monitor import Monitor

_COMMUNICATION = re.compile(r"\b(gloo|nccl|processgroup)", re.IGNORECASE)
# Their messages need no name of a type.
_OUR_ERRORS = (UserError, DivergenceError, WorkerDied)

_channel: Channel | None = None
_alone = Channel(Links())
_monitor: Monitor | None = None
_sessions = 0


def is_open() -> bool:
    return _channel is not None


def open_session(links: Links) -> None:
    """Use these connections from now on."""
    global _channel
    _channel = Channel(links)
    _channel.set_limit(_channel.limit)


def _current() -> Channel:
    if _channel is None and world()[1] > 1:
        raise RuntimeError("distributed.start() has not been called in this process, which is one of several ranks.")
    return _channel or _alone


def gather(value: Any, what: str = "") -> list | None:
    """The picklable values of all ranks in their order, on rank 0; None on the others.

    Every rank calls it, at the same point. `what` is for messages. As `share`, `barrier` and `sum_over_ranks`:

    Raises:
        RankError: a rank is gone, has failed, is elsewhere in the program, or has not come within the limit
            (`monitored`'s, by default 1800 s).
    """
    return _current().gather(value, what)


def share(value: Any, what: str = "") -> Any:
    """Rank 0's picklable value, on every rank; the others' values do not matter. See `gather`."""
    return _current().share(value, what)


def barrier(what: str) -> None:
    """Return when every rank has come here. See `gather`."""
    _current().barrier(what)


def sum_over_ranks(vector: np.ndarray) -> np.ndarray:
    """Elementwise sum of every rank's float64 array of the same shape; bit-identical on all ranks. See `gather`."""
    return _current().sum(np.asarray(vector, np.float64))


def share_arrays(arrays: dict[str, np.ndarray], assign: Callable[[str, np.ndarray], object]) -> None:
    """`assign(name, array)` rank 0's arrays on the other ranks, which have arrays of the same names and shapes."""
    channel = _current()
    if channel.links.size == 1:
        return
    shared = channel.share(arrays, "buffers")
    if channel.links.rank == 0:
        return
    shapes = [{name: array.shape for name, array in some.items()} for some in (arrays, shared)]
    if shapes[0] != shapes[1]:
        differing = sorted({name for name, _ in shapes[0].items() ^ shapes[1].items()})
        raise RankError(f"rank {channel.links.rank} has another model than rank 0: {', '.join(differing[:5])}")
    for name, array in shared.items():
        assign(name, array)


def phase(text: str, waiting: bool = False) -> None:
    """This rank is now at `text`; `waiting`: for other ranks, so that a long stay is not its fault.

    Raises:
        RankError: another rank is gone, has failed or stalls.
    """
    phases.enter(text, waiting)
    if _monitor is not None and (cause := _monitor.known()):
        raise RankError(cause)


@contextlib.contextmanager
def monitored(timeout: float) -> Iterator[None]:
    """Within the block, a rank that dies, fails, or stays in one phase for `timeout` seconds (0: never) ends all ranks.

    They end with a RankError where possible, otherwise by a line 'error: …' on stderr and exit code 1; a rank that
    stalls also prints the stacks of its threads. A rank fails by leaving the block with an exception; KeyboardInterrupt
    and RankError count as an ordinary end. A process that is paused for longer than `timeout` counts as stalled.

    Raises:
        RankError: in place of an error of paddle's communication, naming the rank at fault.
    """
    global _monitor, _sessions
    channel = _current()
    limit, seconds = channel.limit, timeout if timeout > 0 else math.inf
    _sessions += 1
    monitor = Monitor(channel.links, seconds, _sessions)
    channel.trouble = monitor.known
    channel.set_limit(2 * seconds)
    # A rank may make the others wait for as long as it makes progress, which the monitor sees.
    channel.limit = math.inf
    phases.enter("starting")
    _monitor = monitor
    monitor.start()
    try:
        yield
    except Exception as error:
        found = explain(error)
        if found is None:
            report_failure(str(error) if isinstance(error, _OUR_ERRORS) else f"{type(error).__name__}: {error}")
            raise
        monitor.report(str(found))
        if found is error:
            raise
        raise found from error
    finally:
        _monitor = None
        monitor.stop()
        channel.trouble = lambda wait: None
        channel.set_limit(limit)


def report_failure(message: str) -> None:
    """Tell the other ranks, within `monitored`, that this one has failed; the first report of all ranks counts."""
    if _monitor is not None:
        _monitor.report(f"rank {_current().links.rank} failed: {message}")


def explain(error: BaseException) -> RankError | None:
    """The RankError behind an error of paddle's communication; None for any other error. Takes seconds."""
    if isinstance(error, RankError):
        return error
    if _current().links.size == 1 or isinstance(error, _OUR_ERRORS) or not _COMMUNICATION.search(str(error)):
        return None
    text = str(error).strip().splitlines()[-1].strip()
    if _monitor is None:
        return RankError(f"communication with the other ranks failed: {text}")
    return RankError(_monitor.blame(text))
