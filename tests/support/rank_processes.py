"""Ranks as forked processes, connected as in a run but without paddle, to be killed, stopped and kept waiting."""

import math
import multiprocessing
import os
import pickle
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppdet_ext.distributed import session
from ppdet_ext.distributed.connections import Address, connect, serve
from ppdet_ext.errors import RankError

SECONDS = 60


@dataclass
class Outcome:
    """How a rank ended: exit code (negative: killed by that signal), what it returned, printed to stderr, and when."""

    code: int
    value: Any
    stderr: str
    ended: float


def run_ranks(folder: Path, size: int, body: Callable[[int], Any]) -> list[Outcome]:
    """`body(rank)` in `size` processes within an open session; whoever is left after 60 s is killed, and that is an error.

    A RankError ends a rank as in the tools: 'error: …' on stderr and exit code 1.
    """
    context = multiprocessing.get_context("fork")
    addresses = context.SimpleQueue()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        processes = [context.Process(target=_rank, args=(folder, rank, size, body, addresses)) for rank in range(size)]
        for process in processes:
            process.start()
    ended = _wait(folder, processes)
    outcomes = []
    for rank, process in enumerate(processes):
        process.kill()
        process.join()
        value = folder / f"value.{rank}"
        outcomes.append(
            Outcome(
                process.exitcode,
                pickle.loads(value.read_bytes()) if value.exists() else None,
                (folder / f"stderr.{rank}").read_text(),
                ended.get(rank, math.inf),
            )
        )
    hung = [rank for rank, process in enumerate(processes) if rank not in ended and not _stopped(folder, process)]
    assert not hung, f"ranks {hung} hung: {[outcome.stderr for outcome in outcomes]}"
    return outcomes


def _stopped(folder: Path, process: Any) -> bool:
    """A rank that stops itself says so by a file, for it never ends."""
    return (folder / f"stopped.{process.pid}").exists()


def _wait(folder: Path, processes: list) -> dict[int, float]:
    """When each rank ended; not by the sentinels, which a killed rank's own children keep open."""
    deadline, ended = time.monotonic() + SECONDS, {}
    while time.monotonic() < deadline:
        for rank, process in enumerate(processes):
            if rank not in ended and process.exitcode is not None:
                ended[rank] = time.monotonic()
        if all(rank in ended or _stopped(folder, process) for rank, process in enumerate(processes)):
            break
        time.sleep(0.02)
    return ended


def _rank(folder: Path, rank: int, size: int, body: Callable[[int], Any], addresses: Any) -> None:
    handle = os.open(folder / f"stderr.{rank}", os.O_WRONLY | os.O_CREAT)
    os.dup2(handle, 2)
    sys.stderr = os.fdopen(2, "w", closefd=False)
    code = 0
    try:
        session.open_session(_links(rank, size, addresses))
        (folder / f"value.{rank}").write_bytes(pickle.dumps(body(rank)))
    except RankError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    except BaseException:
        traceback.print_exc()
        code = 2
    sys.stderr.flush()
    os._exit(code)


def _links(rank: int, size: int, addresses: Any) -> Any:
    log = f"workerlog.{rank}"
    if rank:
        return connect(Address.from_text(addresses.get()), rank, size, log, SECONDS)

    def announce(address: Address) -> None:
        for _ in range(size - 1):
            addresses.put(address.text())

    return serve("127.0.0.1", size, log, SECONDS, announce)
