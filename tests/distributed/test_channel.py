"""Values between ranks: real processes, real connections."""

import os
import re
import signal
import socket
import threading
import time

import numpy as np
import pytest
from rank_processes import run_ranks

from ppdet_ext import distributed
from ppdet_ext.distributed import session
from ppdet_ext.distributed.connections import Address, connect, serve
from ppdet_ext.errors import RankError


def test_values_of_three_ranks(tmp_path) -> None:
    def body(rank: int) -> dict:
        vectors = [np.array([0.1, 1e16, -0.0]), np.array([0.2, 1.0, -0.0]), np.array([0.3, -1e16, -0.0])]
        if rank == 1:
            # The last to come.
            time.sleep(0.3)
        return {
            "gathered": distributed.gather({"rank": rank}, "results"),
            "shared": distributed.share(f"of rank {rank}"),
            "sum": distributed.sum_over_ranks(vectors[rank]).tobytes(),
            "again": [distributed.gather(rank + number) for number in range(20)],
            "barrier": distributed.barrier("end"),
        }

    values = [outcome.value for outcome in run_ranks(tmp_path, 3, body)]
    assert values[0]["gathered"] == [{"rank": 0}, {"rank": 1}, {"rank": 2}]
    assert values[1]["gathered"] is values[2]["gathered"] is None
    assert [value["shared"] for value in values] == ["of rank 0"] * 3
    # In the order of the ranks: 1 is lost in 1e16, and -0.0 stays negative.
    assert [value["sum"] for value in values] == [np.array([0.1 + 0.2 + 0.3, 0.0, -0.0]).tobytes()] * 3
    assert values[0]["again"] == [[number, number + 1, number + 2] for number in range(20)]


def test_values_that_break_the_store(tmp_path) -> None:
    size = 60_000_000

    def body(rank: int) -> tuple:
        gathered = distributed.gather(bytes([rank]) * size)
        shared = distributed.share(bytes([rank + 7]) * size)
        return gathered and [(len(value), value[0], value[-1]) for value in gathered], (len(shared), shared[0], shared[-1])

    first, second = (outcome.value for outcome in run_ranks(tmp_path, 2, body))
    assert first == ([(size, 0, 0), (size, 1, 1)], (size, 7, 7))
    assert second == (None, (size, 7, 7))


def test_one_rank_keeps_its_values(monkeypatch) -> None:
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    value = object()
    assert distributed.gather(value) == [value]
    assert distributed.share(value) is value
    assert distributed.sum_over_ranks(np.array([1, 2])).tolist() == [1.0, 2.0]
    distributed.barrier("nobody else")


def test_ranks_that_have_not_met_cannot_exchange(monkeypatch) -> None:
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    with pytest.raises(RuntimeError, match=r"distributed.start\(\) has not been called"):
        distributed.gather(1)


def test_arrays_of_rank_0(tmp_path) -> None:
    def body(rank: int) -> dict:
        arrays = {"mean": np.full(3, rank, np.float32), "count": np.array(rank + 5, np.int64), "seen": np.array([rank == 0])}
        session.share_arrays(arrays, arrays.__setitem__)
        return {name: (array.dtype.name, array.tolist()) for name, array in arrays.items()}

    expected = {"mean": ("float32", [0.0] * 3), "count": ("int64", 5), "seen": ("bool", [True])}
    assert [outcome.value for outcome in run_ranks(tmp_path, 2, body)] == [expected] * 2


def test_arrays_of_another_model(tmp_path) -> None:
    def body(rank: int) -> None:
        arrays = {"mean": np.zeros(3 + rank), f"only_{rank}": np.zeros(1), "same": np.zeros(1)}
        session.share_arrays(arrays, arrays.__setitem__)

    outcome = run_ranks(tmp_path, 2, body)[1]
    assert "rank 1 has another model than rank 0: mean, only_0, only_1\n" in outcome.stderr


@pytest.mark.parametrize("culprit", [0, 1])
def test_ranks_that_have_parted(tmp_path, culprit: int) -> None:
    def body(rank: int) -> None:
        distributed.barrier("begin")
        if rank == culprit:
            distributed.barrier("end")
        else:
            distributed.gather(1, "evaluation")

    outcomes = run_ranks(tmp_path, 3, body)
    at = {True: "barrier 'end'", False: "gather 'evaluation'"}
    # Of two others that part from rank 0, either may come first.
    pattern = (
        rf"error: the ranks have parted: rank 0 is at {at[culprit == 0]} \(its call 2\), "
        rf"rank [12] at {at[culprit != 0]} \(its call 2\)\n"
    )
    assert all(outcome.code == 1 and re.fullmatch(pattern, outcome.stderr) for outcome in outcomes), outcomes


def test_a_call_too_few(tmp_path) -> None:
    def body(rank: int) -> None:
        for _ in range(3 - rank):
            distributed.sum_over_ranks(np.zeros(2))
        distributed.sum_over_ranks(np.zeros(3))

    for outcome in run_ranks(tmp_path, 2, body):
        assert "rank 0 is at sum of shape (2,) (its call 3), rank 1 at sum of shape (3,) (its call 3)\n" in outcome.stderr


def test_a_rank_that_does_not_come(tmp_path) -> None:
    def body(rank: int) -> None:
        session._current().set_limit(1.0)
        distributed.barrier("begin")
        if rank == 1:
            time.sleep(2.5)
        distributed.gather(rank, "evaluation")

    for outcome in run_ranks(tmp_path, 3, body):
        assert outcome.stderr == "error: rank 1 did not come to gather 'evaluation' for 1 s\n"


def test_rank_0_that_does_not_come(tmp_path) -> None:
    def body(rank: int) -> None:
        session._current().set_limit(0.5)
        if rank == 0:
            time.sleep(3)
            return
        distributed.barrier("begin")

    assert "error: rank 0 has not answered this rank's barrier 'begin'" in run_ranks(tmp_path, 2, body)[1].stderr


@pytest.mark.parametrize("killed", [0, 1])
def test_a_rank_that_is_killed(tmp_path, killed: int) -> None:
    def body(rank: int) -> None:
        distributed.barrier("begin")
        if rank == killed:
            os.kill(os.getpid(), signal.SIGKILL)
        distributed.gather(rank)

    outcomes = run_ranks(tmp_path, 3, body)
    message = f"error: rank {killed} is gone (its process ended; see its log workerlog.{killed})\n"
    assert outcomes.pop(killed).code == -signal.SIGKILL
    assert [(outcome.code, outcome.stderr) for outcome in outcomes] == [(1, message)] * 2


def test_strangers_are_refused() -> None:
    admitted = []

    def announce(address: Address) -> None:
        def come() -> None:
            with socket.create_connection((address.host, address.port)) as browser:
                browser.sendall(b"GET / HTTP/1.0\r\n\r\n")
            with pytest.raises(RankError, match="rank 0 does not answer"):
                connect(Address(address.host, address.port, b"another key"), 1, 2, "", 10)
            admitted.append(connect(Address.from_text(address.text()), 1, 2, "workerlog.1", 10))

        threads.append(threading.Thread(target=come))
        threads[0].start()

    threads: list[threading.Thread] = []
    first = serve("127.0.0.1", 2, "workerlog.0", 10, announce)
    threads[0].join()
    (second,) = admitted
    assert first.logs == second.logs == {0: "workerlog.0", 1: "workerlog.1"}
    for here, there in ((first.data[1], second.data[0]), (second.signals[0], first.signals[1])):
        here.send_bytes(b"in")
        assert there.recv_bytes() == b"in"
    first.close()
    second.close()


def test_ranks_that_do_not_connect_are_named() -> None:
    with pytest.raises(RankError, match=r"^ranks 1, 2 did not connect to rank 0 at 127\.0\.0\.1 within 0 s$"):
        serve("127.0.0.1", 3, "", 0.2, lambda address: None)


def test_a_rank_0_that_does_not_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(RankError, match=f"^rank 0 does not answer at 127.0.0.1:{port}: .*refused"):
        connect(Address("127.0.0.1", port, b"key"), 1, 2, "", 5)
