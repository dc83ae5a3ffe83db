"""Connections between the ranks: a star around rank 0, two to each rank, authenticated and closed in forked children."""

import contextlib
import logging
import os
import secrets
import socket
import struct
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing import AuthenticationError
from multiprocessing.connection import Connection, answer_challenge, deliver_challenge

from ppdet_ext.errors import RankError

logger = logging.getLogger("ppdet_ext")

_HANDSHAKE_SECONDS = 10.0
_UNREACHABLE_SECONDS = 90
_HELLO = struct.Struct("!II")
DATA, SIGNALS = 0, 1

_open: "weakref.WeakSet[Connection]" = weakref.WeakSet()


def _close_in_child() -> None:
    # A copy kept by a data worker would hide from the other ranks that this one has died.
    for connection in list(_open):
        connection.close()


os.register_at_fork(after_in_child=_close_in_child)


@dataclass(frozen=True)
class Address:
    """Where rank 0 listens, and the secret that lets in."""

    host: str
    port: int
    key: bytes

    def text(self) -> str:
        return f"{self.host} {self.port} {self.key.hex()}"

    @classmethod
    def from_text(cls, text: str) -> "Address":
        host, port, key = text.split(" ")
        return cls(host, int(port), bytes.fromhex(key))


@dataclass
class Links:
    """This rank's connections. Rank 0 has them to every other rank, the others to rank 0.

    Attributes:
        data: by rank; for values.
        signals: by rank; for heartbeats.
        logs: by rank; name of the launcher's log of that rank, '' if unknown.
    """

    rank: int = 0
    size: int = 1
    data: dict[int, Connection] = field(default_factory=dict)
    signals: dict[int, Connection] = field(default_factory=dict)
    logs: dict[int, str] = field(default_factory=dict)

    def close(self) -> None:
        for connection in (*self.data.values(), *self.signals.values()):
            connection.close()

    def gone(self, rank: int, error: OSError | EOFError) -> str:
        """The message for a rank whose connection has broken with `error`."""
        log = f"; see its log {self.logs[rank]}" if self.logs.get(rank) else ""
        ended = isinstance(error, (EOFError, ConnectionError))
        return f"rank {rank} is gone ({'its process ended' if ended else f'its host does not answer: {error}'}{log})"


def serve(host: str, size: int, log: str, seconds: float, announce: Callable[[Address], object]) -> Links:
    """Rank 0's side: listen on a free port of `host`, `announce` the address, let the other ranks in.

    Raises:
        RankError: naming those that have not come within `seconds`.
    """
    key = secrets.token_bytes(32)
    links = Links(0, size, logs={0: log})
    deadline = time.monotonic() + seconds
    with socket.create_server((host, 0), backlog=2 * size) as server:
        announce(Address(host, server.getsockname()[1], key))
        while len(links.data) + len(links.signals) < 2 * (size - 1):
            server.settimeout(max(0.01, deadline - time.monotonic()))
            try:
                stranger, _ = server.accept()
            except TimeoutError:
                missing = [rank for rank in range(1, size) if rank not in links.data or rank not in links.signals]
                raise RankError(f"{_ranks(missing)} did not connect to rank 0 at {host} within {seconds:.0f} s") from None
            try:
                _admit(stranger, key, links)
            except (OSError, EOFError, AuthenticationError, struct.error, UnicodeDecodeError) as error:
                logger.warning("Refused a connection to the ranks' channel: %s", error)
    return links


def _ranks(numbers: list[int]) -> str:
    return f"rank{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"


def _admit(stranger: socket.socket, key: bytes, links: Links) -> None:
    with _handshake(stranger) as connection:
        deliver_challenge(connection, key)
        answer_challenge(connection, key)
        hello = connection.recv_bytes(4096)
        rank, kind = _HELLO.unpack_from(hello)
        connection.send_bytes(links.logs[0].encode())
    links.logs[rank] = hello[_HELLO.size :].decode()
    (links.data if kind == DATA else links.signals)[rank] = connection


def connect(address: Address, rank: int, size: int, log: str, seconds: float) -> Links:
    """The side of every other rank.

    Raises:
        RankError: rank 0 does not answer within `seconds`.
    """
    links = Links(rank, size, logs={rank: log})
    for kind, connections in ((DATA, links.data), (SIGNALS, links.signals)):
        try:
            far = socket.create_connection((address.host, address.port), timeout=seconds)
            with _handshake(far, seconds) as connection:
                answer_challenge(connection, address.key)
                deliver_challenge(connection, address.key)
                connection.send_bytes(_HELLO.pack(rank, kind) + log.encode())
                links.logs[0] = connection.recv_bytes(4096).decode()
        except (OSError, EOFError, AuthenticationError) as error:
            raise RankError(f"rank 0 does not answer at {address.host}:{address.port}: {error}") from error
        connections[0] = connection
    return links


@contextlib.contextmanager
def _handshake(peer: socket.socket, seconds: float = _HANDSHAKE_SECONDS) -> Iterator[Connection]:
    """`peer` as a connection whose reads and writes give up within the block after `seconds`; closed if they fail."""
    peer.setblocking(True)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    # A host that vanished closes nothing.
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, _UNREACHABLE_SECONDS // 3)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, _UNREACHABLE_SECONDS // 9)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 6)
    connection = Connection(peer.detach())
    _open.add(connection)
    try:
        limit_io(connection, seconds)
        yield connection
        limit_io(connection, 0)
    except BaseException:
        connection.close()
        raise


def limit_io(connection: Connection, seconds: float) -> None:
    """Let each read and write that stands still for `seconds` (0: no limit) fail with BlockingIOError."""
    whole = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    with socket.socket(fileno=os.dup(connection.fileno())) as handle:
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, whole)
        handle.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, whole)
