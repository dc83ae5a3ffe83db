"""Exchange of values between the ranks, by way of rank 0.

Why not the collectives of paddle: gloo's give up after 30 s without a peer, and its store takes 44 ms a call and breaks
on values of 50 MB.
"""

import functools
import pickle
import time
from collections.abc import Callable
from multiprocessing.connection import Connection, wait
from typing import Any

import numpy as np

from ppdet_ext.errors import RankError

from . import phases
from .connections import Links, limit_io

# The ranks that wait for rank 0's answer must outlast rank 0, which knows who is missing.
_GRACE = 30.0
_SLICE = 0.5


class Channel:
    """Every call is made by all ranks, in the same order; otherwise all get a RankError that says where they are.

    Args:
        links: of this rank.
        limit: seconds to wait for the other ranks.
    """

    def __init__(self, links: Links, limit: float = 1800.0) -> None:
        self.links = links
        self.limit = limit
        # Asked while waiting and when a connection breaks: seconds to wait for an answer -> what is known to be wrong.
        self.trouble: Callable[[float], str | None] = lambda seconds: None
        self._calls = 0

    def gather(self, value: Any, what: str) -> list | None:
        """Rank 0: the picklable values of all ranks; the others: None."""
        return self._meet(f"gather '{what}'", value, lambda values: None)[0]

    def share(self, value: Any, what: str) -> Any:
        """Rank 0's picklable value, on every rank."""
        values, shared = self._meet(f"share '{what}'", value if not self.links.rank else None, lambda values: values[0])
        return shared if values is None else value

    def barrier(self, what: str) -> None:
        """Return when all ranks have come."""
        self._meet(f"barrier '{what}'", None, lambda values: None)

    def sum(self, vector: np.ndarray) -> np.ndarray:
        """Sum over ranks, in their order, so that it is the same in every run."""
        return self._meet(f"sum of shape {vector.shape}", vector, lambda values: functools.reduce(np.add, values))[1]

    def _meet(self, call: str, value: Any, answer: Callable[[list], Any]) -> tuple[list | None, Any]:
        """Rank 0 takes everybody's value and gives everybody `answer(values)`; returns (values on rank 0, answer)."""
        if self.links.size == 1:
            return [value], answer([value])
        self._calls += 1
        with phases.waiting(call):
            if self.links.rank:
                return None, self._ask(call, value)
            values = self._collect(call, value)
            reply = answer(values)
            self._reply(True, reply)
            return values, reply

    def _ask(self, call: str, value: Any) -> Any:
        connection = self.links.data[0]
        packed = pickle.dumps((self._calls, call, value), pickle.HIGHEST_PROTOCOL)
        deadline = time.monotonic() + self.limit + min(_GRACE, self.limit)
        self._limited(0, lambda: connection.send_bytes(packed))
        while not connection.poll(_SLICE):
            self._check(deadline, f"rank 0 has not answered this rank's {call} for {self.limit:.0f} s")
        good, reply = pickle.loads(self._limited(0, connection.recv_bytes))
        if not good:
            raise RankError(reply)
        return reply

    def _collect(self, call: str, value: Any) -> list:
        values: dict[int, Any] = {0: value}
        pending = {connection: rank for rank, connection in self.links.data.items()}
        deadline = time.monotonic() + self.limit
        try:
            while pending:
                missing = ", ".join(f"rank {rank}" for rank in pending.values())
                for connection in self._ready(
                    list(pending), deadline, f"{missing} did not come to {call} for {self.limit:.0f} s"
                ):
                    rank = pending.pop(connection)
                    number, far_call, values[rank] = pickle.loads(self._limited(rank, connection.recv_bytes))
                    if (number, far_call) != (self._calls, call):
                        raise RankError(
                            f"the ranks have parted: rank 0 is at {call} (its call {self._calls}), "
                            f"rank {rank} at {far_call} (its call {number})"
                        )
        except RankError as error:
            self._reply(False, str(error))
            raise
        return [values[rank] for rank in range(self.links.size)]

    def _ready(self, connections: list[Connection], deadline: float, overdue: str) -> list:
        while not (ready := wait(connections, _SLICE)):
            self._check(deadline, overdue)
        return ready

    def _check(self, deadline: float, overdue: str) -> None:
        if cause := self.trouble(0.0):
            raise RankError(cause)
        if time.monotonic() > deadline:
            raise RankError(overdue)

    def _reply(self, good: bool, reply: Any) -> None:
        packed = pickle.dumps((good, reply), pickle.HIGHEST_PROTOCOL)
        for rank, connection in self.links.data.items():
            try:
                self._limited(rank, functools.partial(connection.send_bytes, packed))
            except RankError:
                if good:
                    raise

    def _limited(self, rank: int, transfer: Callable[[], Any]) -> Any:
        """The transfer's result; RankError when it breaks or stands still."""
        try:
            return transfer()
        except BlockingIOError:
            raise RankError(f"rank {rank} stopped in the midst of a transfer for {self.limit:.0f} s") from None
        except (EOFError, OSError) as error:
            raise RankError(self.trouble(2.0) or self.links.gone(rank, error)) from error

    def set_limit(self, seconds: float) -> None:
        self.limit = seconds
        for connection in self.links.data.values():
            limit_io(connection, min(seconds, 1e6))
