"""Ranks that die, fail or end at different times: real processes."""

import multiprocessing
import os
import pickle
import signal
import sys
import time

import pytest
from rank_processes import run_ranks

from ppdet_ext import distributed
from ppdet_ext.distributed import monitor, session
from ppdet_ext.distributed.connections import Links
from ppdet_ext.errors import DivergenceError, RankError


def hang_in_the_disk() -> None:
    time.sleep(100)


def train_forever() -> None:
    while True:
        distributed.phase("training")
        time.sleep(0.01)


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
            train_forever()

    outcomes = run_ranks(tmp_path, 3, body)
    failed = outcomes.pop(failing)
    assert failed.code == 2
    assert "DivergenceError: loss = nan" in failed.stderr
    assert "error: " not in failed.stderr
    message = f"error: rank {failing} failed: loss = nan in epoch 0, step 4\n"
    assert [(outcome.code, outcome.stderr) for outcome in outcomes] == [(1, message)] * 2


def test_the_training_thread_learns_of_it_in_its_next_phase(tmp_path) -> None:
    def body(rank: int) -> str:
        with distributed.monitored(100):
            distributed.barrier("begin")
            if rank == 1:
                raise ValueError("no more")
            with pytest.raises(RankError) as caught:
                train_forever()
        return str(caught.value)

    assert run_ranks(tmp_path, 2, body)[0].value == "rank 1 failed: ValueError: no more"


def test_a_goodbye_of_an_earlier_training_is_not_one_of_this(monkeypatch) -> None:
    monkeypatch.setattr(monitor, "GRACE", 60.0)
    here, far = multiprocessing.Pipe()
    for message in ((1, "left"), (2, "verdict", "rank 1 failed: no more", [])):
        far.send_bytes(pickle.dumps(message))
    watch = monitor.Monitor(Links(0, 2, signals={1: here}), 100, session=2)
    watch.start()
    try:
        assert watch.known(5) == "rank 1 failed: no more"
    finally:
        watch.stop()


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


def test_errors_that_are_no_communication_are_not_explained(monkeypatch) -> None:
    monkeypatch.delenv("PADDLE_TRAINERS_NUM", raising=False)
    assert distributed.explain(RuntimeError("[gloo] Connection closed by peer")) is None
    with pytest.raises(ValueError, match="own"), distributed.monitored(5):
        raise ValueError("own")
    assert session._monitor is None
    assert "rank monitor" not in {thread.name for thread in sys.modules["threading"].enumerate()}
