"""Processes that share work: results in order, errors as they are, a killed one named."""

import os
import signal

import pytest

from ppdet_ext.distributed.forked import forked
from ppdet_ext.errors import WorkerDied


def test_results_come_in_order_from_other_processes() -> None:
    offset = 10
    assert forked(lambda item: item + offset, list(range(20)), 2) == list(range(10, 30))
    assert len(set(forked(lambda _: os.getpid(), range(6), 3)) - {os.getpid()}) >= 1
    assert forked(lambda _: os.getpid(), range(6), 1) == [os.getpid()] * 6


def test_errors_come_through() -> None:
    def fail(item: int) -> None:
        raise ValueError(f"item {item}")

    with pytest.raises(ValueError, match="item 0"):
        forked(fail, range(3), 2)


def test_a_killed_process_is_said() -> None:
    with pytest.raises(WorkerDied, match="worker_num=0"):
        forked(lambda _: os.kill(os.getpid(), signal.SIGKILL), range(3), 2)
