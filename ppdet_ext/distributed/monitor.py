"""Notices ranks that die, fail or stall, and ends this process with one line that says which and why."""

import faulthandler
import math
import os
import pickle
import threading
import time
from multiprocessing.connection import Connection, Pipe, wait

from . import phases
from .connections import Links, limit_io
from .phases import State, find_stalled, find_suspects

_STDERR = 2
# Seconds between heartbeats; that the training thread has to end; after which a thread without Python's lock gives up.
INTERVAL, GRACE, MARGIN = 2.0, 3.0, 10.0


class Monitor:
    """A daemon thread: each rank tells rank 0 its phase; rank 0 watches all, judges, and tells everybody.

    When something is wrong, the training thread has `GRACE` seconds to end by itself (it meets an error, or `known`);
    after that the process ends, since that thread may hang where no exception reaches it.

    Args:
        links: of this rank.
        timeout: seconds in one phase that count as a stall; inf: none do.
        session: number of this monitoring in the process; the same on all ranks.
    """

    def __init__(self, links: Links, timeout: float, session: int = 0) -> None:
        self.links, self.timeout, self.session = links, timeout, session
        self.interval = min(INTERVAL, timeout / 4)
        self._peers = dict(links.signals)
        now = time.monotonic()
        self._states = {rank: State("starting") for rank in self._peers}
        self._heard = dict.fromkeys(self._peers, now)
        self._complaints: dict[int, str] = {}
        self._complained = math.inf
        self._verdict: str | None = None
        self._ends_itself = False
        self._known = threading.Event()
        self._stopped = threading.Event()
        self._lock = threading.Lock()
        self._awake, self._wake = Pipe(duplex=False)
        self._thread = threading.Thread(target=self._run, name="rank monitor", daemon=True)

    def start(self) -> None:
        for connection in self._peers.values():
            limit_io(connection, 10.0)
        self._thread.start()

    def stop(self) -> None:
        """The training has ended in order here, or by an error that the others know of."""
        self._stopped.set()
        self._send_all("left")
        self._wake.send_bytes(b"")
        self._thread.join()
        faulthandler.cancel_dump_traceback_later()
        self._awake.close()
        self._wake.close()

    def known(self, seconds: float = 0.0) -> str | None:
        """What is wrong, if anything is known to be within `seconds`."""
        if self._verdict is None and seconds:
            self._known.wait(seconds)
        return self._verdict

    def report(self, message: str) -> None:
        """This rank ends by an error of its own; the others end with `message`, unless they are to end already."""
        if self._verdict is None:
            self._ends_itself = True
            self._verdict = message
            self._known.set()
            self._send_all("verdict", message, [])

    def blame(self, error: str) -> str:
        """Communication has failed here with `error`: the cause, as far as it can be found within seconds."""
        if self.links.rank == 0:
            self._complain(0, error)
        else:
            self._send_all("complaint", error)
        return self.known(4 * self.interval + 2) or f"communication with the other ranks failed: {error}"

    # What follows runs in the thread.

    def _run(self) -> None:
        while not self._stopped.is_set():
            self._beat()
            self._listen(time.monotonic() + self.interval)
            if self._verdict is None:
                self._judge()
            if self._verdict is not None:
                self._end()
                return

    def _beat(self) -> None:
        phase = phases.current()
        self._send_all("beat", phase.text, phase.waiting, time.monotonic() - phase.since)
        if self.timeout < math.inf:
            self._end_within(self.timeout)

    def _listen(self, until: float) -> None:
        while self._verdict is None and not self._stopped.is_set():
            ready = wait([self._awake, *self._peers.values()], max(0.0, until - time.monotonic()))
            if not ready:
                return
            for rank, connection in list(self._peers.items()):
                if connection in ready:
                    self._receive(rank, connection)

    def _receive(self, rank: int, connection: Connection) -> None:
        try:
            session, kind, *content = pickle.loads(connection.recv_bytes())
        except (EOFError, OSError) as error:
            del self._peers[rank]
            self._declare(self.links.gone(rank, error), [])
            return
        if session != self.session:
            return
        self._heard[rank] = time.monotonic()
        if kind == "beat":
            self._states[rank] = State(*content)
        elif kind == "complaint":
            self._complain(rank, *content)
        elif kind == "verdict":
            self._declare(*content)
        elif kind == "left":
            self._states[rank].left = True
            del self._peers[rank]

    def _complain(self, rank: int, error: str) -> None:
        self._complaints[rank] = error
        self._complained = min(self._complained, time.monotonic())

    def _judge(self) -> None:
        states = self._survey()
        if time.monotonic() - self._complained > self.interval + 1:
            self._declare(*find_suspects(states, self._complaints))
        elif found := find_stalled(states, self.timeout):
            self._declare(*found)

    def _survey(self) -> dict[int, State]:
        """All that this rank is to judge: rank 0 everyone; another one rank 0's silence, and itself when that has left."""
        now = time.monotonic()
        states = {}
        for rank, state in self._states.items():
            silent = 0.0 if state.left else now - self._heard[rank]
            states[rank] = State(state.phase, state.waiting, state.seconds + silent, silent, state.left)
        phase = phases.current()
        own = State(phase.text, phase.waiting, now - phase.since)
        if self.links.rank == 0 or states[0].left:
            states[self.links.rank] = own
        else:
            # Rank 0 judges phases.
            states[0].waiting = True
            states[self.links.rank] = State(own.phase)
        return dict(sorted(states.items()))

    def _declare(self, text: str, at_fault: list[int]) -> None:
        if self._verdict is not None:
            return
        self._verdict = text
        self._known.set()
        if self.links.rank == 0:
            self._send_all("verdict", text, at_fault)
        if self.links.rank in at_fault:
            faulthandler.dump_traceback(file=_STDERR, all_threads=True)

    def _end(self) -> None:
        if self._ends_itself:
            return
        self._end_within(GRACE)
        if not self._stopped.wait(GRACE):
            os.write(_STDERR, f"error: {self._verdict}\n".encode())
            os._exit(1)

    def _end_within(self, seconds: float) -> None:
        """Let the process end in `seconds` and a margin, even when another thread hangs and keeps Python's lock."""
        faulthandler.dump_traceback_later(min(seconds + min(MARGIN, seconds), 1e6), exit=True, file=_STDERR)

    def _send_all(self, *message: object) -> None:
        packed = pickle.dumps((self.session, *message), pickle.HIGHEST_PROTOCOL)
        with self._lock:
            for connection in list(self._peers.values()):
                try:
                    connection.send_bytes(packed)
                except OSError:
                    # Reading tells why.
                    continue
