"""Runs of tools/train.py as processes of their own that begin in milliseconds: forked from a server that has imported all.

Importing paddle, ppdet and this project takes seconds, a small training takes one. The server (multiprocessing's) imports
them once and runs no operator, so that there is one thread to fork and a child is as good as a fresh process.
"""

import contextlib
import importlib.util
import itertools
import multiprocessing
import os
import shlex
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import wait
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# What the tool imports, and optimizers in their first step: else each of two hundred children does. Not commands.train itself,
# which takes `train` over as it is then, and faults.py changes it.
IMPORTED = (
    *(f"ppdet_ext.commands.{name}" for name in ("cli", "main", "eval", "submit", "tune", "tune_classifier", "report")),
    *("ppdet_ext.training.train", "ppdet_ext.config.debug", "ppdet_ext.config.folds", "hotcoco"),
    *("paddle.optimizer.fusion_utils", "paddle.distributed.auto_parallel.fully_shard_fusion"),
)
# What a child does to itself before the tool runs; called with its rank. Must be picklable.
Change = Callable[[int], None]
# multiprocessing's exit codes are read from a pipe, once, by whoever looks first.
_LOOKING = threading.Lock()
_PORTS = itertools.cycle(range(20000 + os.getpid() % 100 * 100, 32000))


@dataclass(frozen=True)
class Outcome:
    """How a run ended: exit code of each rank (negative: number of the signal) and all that the ranks wrote."""

    codes: tuple[int, ...]
    text: str


def run(argv: Sequence[str], folder: Path, *, ranks: int = 1, changes: Iterable[Change] = (), seconds: float = 120) -> Outcome:
    """Run `tools/train.py argv` in the working directory `folder` until all ranks have ended.

    When one is killed the others are, as `paddle.distributed.launch` does it; when one ends otherwise they have 20 s to
    end too. Safe to call from several threads.

    Args:
        ranks: number of processes; several get the environment that `paddle.distributed.launch` gives.
        changes: what each process does to itself first, in this order.
        seconds: raises TimeoutError after these, with what was written; all processes are killed then.
    """
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.glob("run*.rank0.log")))
    logs = [folder / f"run{number}.rank{rank}.log" for rank in range(ranks)]
    with _LOOKING:
        ports = free_ports(ranks + 1)
        processes = [
            _server().Process(target=_child, args=(tuple(argv), logs[rank], rank, ports, tuple(changes)))
            for rank in range(ranks)
        ]
        for process in processes:
            process.start()
    late = _wait(processes, time.monotonic() + seconds)
    parts = [f"--- {path.name}\n{path.read_text(errors='replace') if path.exists() else ''}" for path in logs]
    codes = tuple(process.exitcode for process in processes)
    text = "\n".join([f"train.py {shlex.join(argv)} ended with {codes}", *parts])
    if late:
        raise TimeoutError(f"did not end: {text}")
    return Outcome(codes, text)


def _wait(processes: Sequence[multiprocessing.Process], deadline: float) -> bool:
    """Until all have ended; True if they had to be killed because of the time."""
    alive = list(processes)
    while alive:
        wait([process.sentinel for process in alive], max(0.0, deadline - time.monotonic()))
        with _LOOKING:
            alive = [process for process in alive if process.exitcode is None]
            struck = any((process.exitcode or 0) < 0 for process in processes)
            if struck or time.monotonic() > deadline:
                for process in alive:
                    process.kill()
                    process.join()
                return bool(alive) and not struck
        if len(alive) < len(processes):
            deadline = min(deadline, time.monotonic() + 20)
    return False


def _server() -> multiprocessing.context.ForkServerContext:
    """The server, started by the first call."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__, *IMPORTED])
    # The server takes over this environment, and what is imported there reads it.
    before = dict(os.environ)
    paths = [str(ROOT), str(Path(__file__).parent)]
    os.environ.update(OMP_NUM_THREADS="1", PYTHONPATH=os.pathsep.join(paths))
    try:
        forkserver.ensure_running()
    finally:
        os.environ.clear()
        os.environ.update(before)
    return context


def free_ports(count: int) -> tuple[int, ...]:
    """Ports of the loopback device nobody listens on now, and none that the system gives to outgoing connections."""
    found: list[int] = []
    while len(found) < count:
        port = next(_PORTS)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            found.append(port)
    return tuple(found)


def _child(argv: Sequence[str], log: Path, rank: int, ports: Sequence[int], changes: Sequence[Change]) -> None:
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    threads = sorted(path.joinpath("comm").read_text().strip() for path in Path("/proc/self/task").iterdir())
    if len(threads) > 1:
        sys.exit(f"a process with the threads {threads} was forked")
    os.chdir(log.parent)
    os.environ.update(_environment(rank, ports))
    if rank > 0:
        _await_listener(ports[0])
    for change in changes:
        change(rank)
    sys.argv = ["tools/train.py", *argv]
    sys.exit(load_tool("train")(list(argv)))


def _await_listener(port: int, seconds: float = 30) -> None:
    """Wait for rank 0's store: paddle, refused once, tries again after 3 s only."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        rows = [line.split() for name in ("tcp", "tcp6") for line in Path("/proc/net", name).read_text().splitlines()[1:]]
        if any(row[1].endswith(f":{port:04X}") and row[3] == "0A" for row in rows):
            return
        time.sleep(0.01)


def _environment(rank: int, ports: Sequence[int]) -> dict[str, str]:
    """What `paddle.distributed.launch` sets for `rank`; nothing for a run of one rank."""
    ends = [f"127.0.0.1:{port}" for port in ports[1:]]
    if len(ends) == 1:
        return {}
    return {
        "PADDLE_MASTER": f"127.0.0.1:{ports[0]}",
        "PADDLE_GLOBAL_SIZE": str(len(ends)),
        "PADDLE_LOCAL_SIZE": str(len(ends)),
        "PADDLE_GLOBAL_RANK": str(rank),
        "PADDLE_LOCAL_RANK": str(rank),
        "PADDLE_NNODES": "1",
        "PADDLE_CURRENT_ENDPOINT": ends[rank],
        "PADDLE_TRAINER_ID": str(rank),
        "PADDLE_TRAINERS_NUM": str(len(ends)),
        "PADDLE_RANK_IN_NODE": str(rank),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(ends),
        "PADDLE_DISTRI_BACKEND": "gloo",
    }


def load_tool(name: str) -> Callable[[Sequence[str]], int]:
    """`main` of tools/<name>.py."""
    spec = importlib.util.spec_from_file_location(f"tool_{name}", ROOT / "tools" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main
