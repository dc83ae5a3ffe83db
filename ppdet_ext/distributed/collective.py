"""Work that the ranks do together: they all come out of it with its result, or all with the same exception."""

import logging
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from ppdet_ext.errors import DivergenceError, RankError, UserError, WorkerDied

from .environment import world
from .interrupt import Stop
from .session import gather, share

Result = TypeVar("Result")
_KINDS = {kind.__name__: kind for kind in (DivergenceError, UserError, WorkerDied)}
logger = logging.getLogger("ppdet_ext")


@dataclass(frozen=True)
class Failure:
    """How work ended on `rank`, if not with a result; what another rank needs to end in the same way.

    Attributes:
        kind: name of the exception's type.
        signum: the signal that stopped it, or None for an error.
    """

    rank: int
    kind: str
    text: str
    signum: int | None = None

    @classmethod
    def from_exception(cls, rank: int, error: BaseException) -> "Failure":
        signum = getattr(error, "signum", signal.SIGINT) if isinstance(error, KeyboardInterrupt) else None
        return cls(rank, type(error).__name__, str(error), signum)

    def __str__(self) -> str:
        if self.signum is not None:
            return f"rank {self.rank} was stopped by {signal.Signals(self.signum).name}"
        named = f"rank {self.rank}: " if self.kind != WorkerDied.__name__ else ""
        return f"{named}{self.text}" if self.kind in _KINDS else f"{named}{self.kind}: {self.text}"

    def exception(self) -> BaseException:
        """Of the same type, if it is one of ours; its message names the rank."""
        if self.signum is not None:
            return Stop(self.signum)
        return _KINDS.get(self.kind, RuntimeError)(str(self))


def on_every_rank(work: Callable[[], Result], what: str) -> list[Result] | None:
    """Run `work` on every rank; rank 0 gets the picklable results in the ranks' order, the others None.

    If it fails or is stopped on some ranks, it is finished on the others, and then all raise: a stop before an error, and
    of several the lowest rank's.

    Args:
        work: done by each rank.
        what: it is, for messages.

    Raises:
        Stop: a rank was stopped by a signal.
        Exception: what was raised here, or another rank's with that rank in the message (`Failure.exception`).
        RankError: a rank is gone.
    """
    rank, size = world()
    if size == 1:
        return [work()]
    result, own = _attempt(work)
    if own is not None:
        level = logging.INFO if isinstance(own, KeyboardInterrupt) else logging.ERROR
        logger.log(level, "%s; the other ranks finish their part first", Failure.from_exception(rank, own))
    parts = gather((result, own and Failure.from_exception(rank, own)), what)
    failures = [failure for _, failure in parts or () if failure is not None]
    _raise_first(share(sorted(failures, key=lambda failure: failure.signum is None), f"outcome of {what}"), own)
    return None if parts is None else [value for value, _ in parts]


def on_rank_0(work: Callable[[], Result], what: str) -> Result:
    """Run `work` on rank 0 alone; its picklable result on every rank. Raises as `on_every_rank` does."""
    rank, size = world()
    if size == 1:
        return work()
    result, own = _attempt(work) if rank == 0 else (None, None)
    result, failure = share((result, own and Failure.from_exception(rank, own)), what)
    _raise_first([failure] if failure is not None else [], own)
    return result


def _attempt(work: Callable[[], Result]) -> tuple[Result | None, BaseException | None]:
    try:
        return work(), None
    except RankError:
        # The ranks cannot meet any more.
        raise
    except (Exception, KeyboardInterrupt) as error:
        return None, error


def _raise_first(failures: Sequence[Failure], own: BaseException | None) -> None:
    if not failures:
        return
    first, *others = failures
    for failure in others:
        logger.warning("And %s", failure)
    if own is not None and first.rank == world()[0] and first.signum is None:
        raise own
    raise first.exception() from own
