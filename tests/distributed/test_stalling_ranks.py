"""Ranks that make no progress: real processes."""

import ctypes
import math
import os
import signal
import time

from rank_processes import run_ranks

from ppdet_ext import distributed
from ppdet_ext.distributed import session

HINT = "; if that is no fault, raise stall_timeout\n"


def hang_in_the_disk() -> None:
    time.sleep(100)


def test_the_stalled_rank_is_named_not_those_that_wait(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(2):
            distributed.phase("training, epoch 0 step 3")
            distributed.barrier("step 3")
            if rank == 1:
                distributed.phase("waiting for data, epoch 0 step 4")
                hang_in_the_disk()
            distributed.gather(rank, "evaluation")

    outcomes = run_ranks(tmp_path, 3, body)
    assert [outcome.code for outcome in outcomes] == [1, 1, 1]
    for outcome in outcomes:
        line = next(line for line in outcome.stderr.splitlines() if line.startswith("error: "))
        assert line.startswith('error: rank 1 has been at "waiting for data, epoch 0 step 4" for 2 s (rank 0 at "gather'), line
    assert "in hang_in_the_disk" in outcomes[1].stderr
    assert "most recent call first" not in outcomes[0].stderr + outcomes[2].stderr


def test_all_ranks_wait_for_each_other(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(1):
            distributed.phase(f"backward, step {rank}", waiting=True)
            hang_in_the_disk()

    for outcome in run_ranks(tmp_path, 2, body):
        assert outcome.code == 1
        assert 'error: all ranks wait for each other (rank 0 at "backward, step 0" for 1 s, rank 1 at "back' in outcome.stderr
        assert "in hang_in_the_disk" in outcome.stderr


def test_progress_is_no_stall(tmp_path) -> None:
    def body(rank: int) -> str:
        with distributed.monitored(1.5):
            if rank == 1:
                distributed.barrier("end")
                return "waited"
            end = time.monotonic() + 4
            while time.monotonic() < end:
                distributed.phase("evaluating")
                time.sleep(0.05)
            distributed.barrier("end")
            return "evaluated"

    outcomes = run_ranks(tmp_path, 2, body)
    assert [(outcome.code, outcome.value, outcome.stderr) for outcome in outcomes] == [(0, "evaluated", ""), (0, "waited", "")]


def test_a_rank_that_has_left_leaves_the_others_to_themselves(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(1):
            if rank == 0:
                return
            distributed.phase("training")
            hang_in_the_disk()

    outcomes = run_ranks(tmp_path, 2, body)
    assert outcomes[0].code == 0
    assert f'error: rank 1 has been at "training" for 1 s (rank 0 has ended its training){HINT}' in outcomes[1].stderr


def test_a_stopped_rank_is_silent(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(1):
            distributed.barrier("begin")
            if rank == 1:
                (tmp_path / f"stopped.{os.getpid()}").touch()
                # To wait is no stall while the other rank goes on: what can be told of this one is its silence alone.
                distributed.phase("about to be stopped", waiting=True)
                time.sleep(0.5)
                os.kill(os.getpid(), signal.SIGSTOP)
            for step in range(100):
                distributed.phase(f"training, step {step}")
                time.sleep(0.1)

    outcome = run_ranks(tmp_path, 2, body)[0]
    assert outcome.code == 1
    assert outcome.stderr.startswith("error: rank 1 has not been heard of for 1 s, last at ")


def test_one_rank_that_stalls(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(1):
            distributed.phase("waiting for data, epoch 0 step 4", waiting=True)
            hang_in_the_disk()

    outcome = run_ranks(tmp_path, 1, body)[0]
    assert outcome.code == 1
    assert "in hang_in_the_disk" in outcome.stderr
    assert outcome.stderr.endswith(f'error: no progress: at "waiting for data, epoch 0 step 4" for 1 s{HINT}')


def test_a_rank_that_hangs_with_pythons_lock(tmp_path) -> None:
    def hang_in_c() -> None:
        ctypes.PyDLL(None).sleep(100)

    def body(rank: int) -> None:
        with distributed.monitored(1):
            hang_in_c()

    outcome = run_ranks(tmp_path, 1, body)[0]
    assert outcome.code == 1
    assert "in hang_in_c" in outcome.stderr


def test_no_limit(tmp_path) -> None:
    def body(rank: int) -> str:
        with distributed.monitored(0):
            distributed.barrier("begin")
            assert session._current().limit == math.inf
            time.sleep(1)
            return distributed.share("unlimited")

    assert [outcome.value for outcome in run_ranks(tmp_path, 2, body)] == ["unlimited"] * 2


def test_a_rank_may_keep_the_others_waiting_as_long_as_it_makes_progress(tmp_path) -> None:
    def body(rank: int) -> list | None:
        with distributed.monitored(1.0):
            # More than the time for which a rank may stay in one phase, and twice that.
            for batch in range(16 if rank else 0):
                distributed.phase(f"batch {batch}")
                time.sleep(0.2)
            return distributed.gather(rank)

    outcomes = run_ranks(tmp_path, 2, body)
    assert [outcome.code for outcome in outcomes] == [0, 0], outcomes
    assert outcomes[0].value == [0, 1]
