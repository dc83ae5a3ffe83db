"""Two ranks over gloo, forked from one process that has imported all and run no operator: `python two_ranks.py FOLDER MODULE`.

Each rank runs all of MODULE's CASES and writes FOLDER/rank<r>.pkl, a dict of what they returned.
"""

import importlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

RANKS = 2
SECONDS = 60  # for a case to end; a step takes a fraction of one


def environment(rank: int, ports: list[int]) -> dict[str, str]:
    """What `paddle.distributed.launch` sets for a rank; `ports`: the store's, then one of each rank."""
    ends = [f"127.0.0.1:{port}" for port in ports[1:]]
    return {
        "PADDLE_MASTER": f"127.0.0.1:{ports[0]}",
        "PADDLE_TRAINER_ID": str(rank),
        "PADDLE_TRAINERS_NUM": str(len(ends)),
        "PADDLE_TRAINER_ENDPOINTS": ",".join(ends),
        "PADDLE_CURRENT_ENDPOINT": ends[rank],
        "PADDLE_RANK_IN_NODE": str(rank),
        "PADDLE_DISTRI_BACKEND": "gloo",
    }


def start(folder: Path, cases: str = "rank_cases") -> subprocess.Popen:
    """The process with both ranks, whose output goes to FOLDER/log; `cases`: name of the module with their CASES."""
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    own = {k: v for k, v in os.environ.items() if not k.startswith("PADDLE_")}
    with open(folder / "log", "w") as log:
        return subprocess.Popen(
            [sys.executable, __file__, str(folder), cases],
            env={**own, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(paths)},
            stdout=log,
            stderr=subprocess.STDOUT,
        )


def results(process: subprocess.Popen, folder: Path) -> list[dict]:
    """What the cases returned on each rank. AssertionError with the log where a rank failed or did not end."""
    code = process.wait()
    assert code == 0, (folder / "log").read_text(errors="replace")[-4000:]
    return [pickle.loads((folder / f"rank{rank}.pkl").read_bytes()) for rank in range(RANKS)]


def _run(rank: int, ports: list[int], folder: Path, cases: dict[str, Callable[[int], Any]]) -> None:
    os.environ.update(environment(rank, ports))
    import paddle

    from ppdet_ext import distributed

    paddle.set_device("cpu")
    distributed.start()
    found = {}
    for name, case in cases.items():
        began = time.perf_counter()
        found[name] = case(rank)
        print(f"rank {rank}: {name}, {time.perf_counter() - began:.1f} s", flush=True)
    (folder / f"rank{rank}.pkl").write_bytes(pickle.dumps(found))


def _fork(rank: int, ports: list[int], folder: Path, cases: dict[str, Callable[[int], Any]]) -> int:
    if child := os.fork():
        return child
    code = 1
    try:
        _run(rank, ports, folder, cases)
        code = 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    os._exit(code)


def _wait(children: set[int]) -> int:
    """0 when all have ended well; when one fails or writes nothing for too long the others are killed."""
    failed, written, end = False, 0, 0.0
    while children and not failed:
        if os.fstat(1).st_size > written or not end:
            written, end = os.fstat(1).st_size, time.monotonic() + SECONDS
        for child in list(children):
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                children.remove(child)
                failed |= status != 0
        failed |= time.monotonic() > end
        time.sleep(0.02)
    for child in children:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return int(failed)


def main(folder: Path, module: str) -> int:
    """Exit code: 0 if both ranks ended well."""
    cases = importlib.import_module(module).CASES

    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(RANKS + 1)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return _wait({_fork(rank, ports, folder, cases) for rank in range(RANKS)})


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2]))
