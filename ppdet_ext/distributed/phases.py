"""What this process is doing: one value that the training thread sets and the monitor reads."""

import contextlib
import time
from collections.abc import Iterator
from typing import NamedTuple


class Phase(NamedTuple):
    """`since`: seconds of the monotonic clock; `waiting`: for the other ranks, so that a long stay is not its fault."""

    text: str
    waiting: bool
    since: float


_now = Phase("starting", False, time.monotonic())


def enter(text: str, waiting: bool = False) -> None:
    """The process is now at `text`."""
    global _now
    _now = Phase(text, waiting, time.monotonic())


def current() -> Phase:
    return _now


@contextlib.contextmanager
def waiting(text: str) -> Iterator[None]:
    """Within the block this rank waits for others; afterwards it is back in its former phase, which starts anew."""
    before = _now
    enter(text, waiting=True)
    try:
        yield
    finally:
        enter(before.text, before.waiting)
