"""What each rank is doing, and which of them keeps the others from going on.

Of this process it is one value, which the training thread sets and the monitor reads.
"""

import contextlib
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
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


@dataclass
class State:
    """What is known of a rank.

    Attributes:
        phase: what it is doing, for `seconds`, waiting for the others if `waiting`.
        silent: seconds since it was heard of.
        left: it has ended its training in order.
    """

    phase: str
    waiting: bool = False
    seconds: float = 0.0
    silent: float = 0.0
    left: bool = False

    def __str__(self) -> str:
        return f'at "{self.phase}" for {self.seconds:.0f} s'


def find_stalled(states: dict[int, State], timeout: float) -> tuple[str, list[int]] | None:
    """(message, ranks at fault), or None while none has been in one phase for `timeout` seconds.

    A rank that waits for others is at fault only when all of them wait.
    """
    present = {rank: state for rank, state in states.items() if not state.left}
    hint = "if that is no fault, raise stall_timeout"
    if len(states) == 1:
        rank, state = next(iter(states.items()))
        return (f"no progress: {state}; {hint}", [rank]) if state.seconds >= timeout else None
    for rank, state in present.items():
        if state.silent >= timeout:
            return f'rank {rank} has not been heard of for {state.silent:.0f} s, last at "{state.phase}"', [rank]
    stalled = {rank: state for rank, state in present.items() if not state.waiting and state.seconds >= timeout}
    if stalled:
        message = "; ".join(f"rank {rank} has been {state}" for rank, state in stalled.items())
        return f"{message}{_whereabouts(states, stalled)}; {hint}", list(stalled)
    if present and all(state.waiting and state.seconds >= timeout for state in present.values()):
        return f"all ranks wait for each other{_whereabouts(states, {})}; {hint}", list(present)
    return None


def find_suspects(states: dict[int, State], failed: dict[int, str]) -> tuple[str, list[int]]:
    """Message and ranks at fault when communication `failed` on some ranks with these errors, and no rank is gone."""
    rank, error = min(failed.items())
    message = f"communication failed on rank {rank} ({error})"
    suspects = [other for other, state in states.items() if other not in failed and not state.waiting and not state.left]
    if suspects:
        message += ", while " + ", ".join(f"rank {other} was {states[other]}" for other in suspects)
    return message + _whereabouts(states, suspects), suspects


def _whereabouts(states: dict[int, State], named: Collection[int]) -> str:
    others = {rank: state for rank, state in states.items() if rank not in named}
    told = [f"rank {rank} " + ("has ended its training" if state.left else str(state)) for rank, state in others.items()]
    return f" ({', '.join(told)})" if told else ""
