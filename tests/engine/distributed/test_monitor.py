"""Ranks that die, fail, stall or end at different times: real processes."""

import ctypes
import os
import signal
import sys
import time

import pytest
from rank_processes import run_ranks

from ppdet_ext.engine import distributed
from ppdet_ext.engine.distributed import monitor, session
from ppdet_ext.errors import DivergenceError

HINT = "; if that is no fault, raise stall_timeout\n"


@pytest.fixture(autouse=True)
def _quick(monkeypatch) -> None:
    monkeypatch.setattr(monitor, "INTERVAL", 0.2)
    monkeypatch.setattr(monitor, "GRACE", 0.5)


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


@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_rank_whose_data_workers_live_on(tmp_path, killed: int) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(100):
            distributed.barrier("begin")
            if rank == killed:
                workers = [os.fork() for _ in range(2)]
                if 0 in workers:
                    # Outlives its parent, as a worker does that is reading a picture.
                    time.sleep(20)
                    os._exit(0)
                (tmp_path / "killed").write_text(repr(time.monotonic()))
                (tmp_path / "workers").write_text(" ".join(map(str, workers)))
                os.kill(os.getpid(), signal.SIGKILL)
            # Where no error reaches this thread.
            hang_in_the_disk()

    outcomes = run_ranks(tmp_path, 3, body)
    for worker in (tmp_path / "workers").read_text().split():
        os.kill(int(worker), signal.SIGKILL)
    assert outcomes.pop(killed).code == -signal.SIGKILL
    for outcome in outcomes:
        assert outcome.code == 1
        assert outcome.stderr == f"error: rank {killed} is gone (its process ended; see its log workerlog.{killed})\n"
        assert outcome.ended - float((tmp_path / "killed").read_text()) < 5


@pytest.mark.parametrize("failing", [0, 2])
def test_a_rank_that_fails(tmp_path, failing: int) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(100):
            distributed.barrier("begin")
            if rank == failing:
                raise DivergenceError("loss = nan in epoch 0, step 4")
            if rank == 1:
                distributed.barrier("step 5")
            while True:
                distributed.phase("training")
                time.sleep(0.01)

    outcomes = run_ranks(tmp_path, 3, body)
    failed = outcomes.pop(failing)
    assert failed.code == 2
    assert "DivergenceError: loss = nan" in failed.stderr
    assert "error: " not in failed.stderr
    message = f"error: rank {failing} failed: loss = nan in epoch 0, step 4\n"
    assert [(outcome.code, outcome.stderr) for outcome in outcomes] == [(1, message)] * 2


def test_errors_without_a_message_of_ours_are_told_with_their_type(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(100):
            distributed.barrier("begin")
            if rank == 1:
                raise KeyError("gt_bbox")
            distributed.barrier("end")

    assert run_ranks(tmp_path, 2, body)[0].stderr == "error: rank 1 failed: KeyError: 'gt_bbox'\n"


def test_the_first_failure_counts_and_may_be_reported_early(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(100):
            distributed.barrier("begin")
            if rank == 1:
                distributed.report_failure("the disk is full")
                distributed.report_failure("nothing more")
                # Longer than the others are given: who reports may take its time to save what it has.
                time.sleep(1.5)
                (tmp_path / "saved").touch()
                raise ValueError("the disk is full")
            distributed.barrier("end")

    outcomes = run_ranks(tmp_path, 2, body)
    assert outcomes[0].stderr == "error: rank 1 failed: the disk is full\n"
    assert outcomes[1].code == 2
    assert (tmp_path / "saved").exists()


def test_ends_at_different_times_are_no_failure(tmp_path) -> None:
    def body(rank: int) -> int:
        for first in (0, 2):
            with distributed.monitored(100):
                distributed.barrier("begin")
                if rank != first:
                    time.sleep(1)
                distributed.phase("late")
        return rank

    outcomes = run_ranks(tmp_path, 3, body)
    assert [(outcome.value, outcome.stderr) for outcome in outcomes] == [(0, ""), (1, ""), (2, "")]


def test_a_rank_whose_process_ends_after_its_training_is_no_failure(tmp_path) -> None:
    def body(rank: int) -> int:
        with distributed.monitored(100):
            if rank == 0:
                time.sleep(1)
        return rank

    assert [(outcome.value, outcome.stderr) for outcome in run_ranks(tmp_path, 3, body)] == [(0, ""), (1, ""), (2, "")]


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
                os.kill(os.getpid(), signal.SIGSTOP)
            distributed.barrier("end")

    outcome = run_ranks(tmp_path, 2, body)[0]
    assert outcome.code == 1
    assert outcome.stderr.startswith("error: rank 1 has not been heard of for 1 s, last at ")


def test_failed_communication_names_who_kept_it_waiting(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(100):
            distributed.barrier("begin")
            if rank == 1:
                distributed.phase("waiting for data, epoch 0 step 4")
                hang_in_the_disk()
            distributed.phase("training, epoch 0 step 4")
            raise RuntimeError("\n\n(External) [gloo/transport/tcp/unbound_buffer.cc:80] Timed out waiting 30000ms for recv")

    outcomes = run_ranks(tmp_path, 3, body)
    for outcome in outcomes:
        assert outcome.code == 1
        assert "error: communication failed on rank 0 ((External) [gloo/transport" in outcome.stderr
        assert ', while rank 1 was at "waiting for data, epoch 0 step 4" for ' in outcome.stderr
    assert "in hang_in_the_disk" in outcomes[1].stderr


def test_failed_communication_with_a_rank_that_is_gone(tmp_path) -> None:
    def body(rank: int) -> None:
        with distributed.monitored(100):
            distributed.barrier("begin")
            if rank == 2:
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("[gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:3409")

    for outcome in run_ranks(tmp_path, 3, body)[:2]:
        assert outcome.stderr == "error: rank 2 is gone (its process ended; see its log workerlog.2)\n"


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
            time.sleep(1)
            return distributed.share("unlimited")

    assert [outcome.value for outcome in run_ranks(tmp_path, 2, body)] == ["unlimited"] * 2


def test_errors_that_are_no_communication_are_not_explained(monkeypatch) -> None:
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    assert distributed.explain(RuntimeError("[gloo] Connection closed by peer")) is None
    with pytest.raises(ValueError, match="own"), distributed.monitored(5):
        raise ValueError("own")
    assert session._monitor is None
    assert "rank monitor" not in {thread.name for thread in sys.modules["threading"].enumerate()}
