"""Two ranks with paddle and gloo, as its launcher starts them."""

import json
import os
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest


@pytest.fixture(scope="module")
def ranks(root, tmp_path_factory) -> list[tuple[int, dict, str]]:
    """(exit code, record, stderr) of the two ranks of support/paddle_ranks.py."""
    folder = tmp_path_factory.mktemp("ranks")
    with socket.create_server(("127.0.0.1", 0)) as one, socket.create_server(("127.0.0.1", 0)) as two:
        ends = [f"127.0.0.1:{some.getsockname()[1]}" for some in (one, two)]
    processes = []
    for rank in range(2):
        environment = {
            **os.environ,
            "PYTHONPATH": str(root),
            "PADDLE_MASTER": ends[0],
            "PADDLE_TRAINER_ID": str(rank),
            "PADDLE_LOCAL_RANK": str(rank),
            "PADDLE_TRAINERS_NUM": "2",
            "PADDLE_TRAINER_ENDPOINTS": ",".join(ends),
            "PADDLE_CURRENT_ENDPOINT": ends[rank],
        }
        output = [(folder / f"{name}.{rank}").open("w") for name in ("out", "err")]
        command = [sys.executable, str(root / "tests/support/paddle_ranks.py")]
        processes.append(subprocess.Popen(command, env=environment, stdout=output[0], stderr=output[1]))
    try:
        codes = [process.wait(120) for process in processes]
    finally:
        for process in processes:
            process.kill()
    lines = [(folder / f"out.{rank}").read_text().splitlines() for rank in range(2)]
    errors = [(folder / f"err.{rank}").read_text() for rank in range(2)]
    records = [next((line for line in some if line.startswith("{")), None) for some in lines]
    assert all(records), errors
    return [(code, json.loads(record), error) for code, record, error in zip(codes, records, errors)]


def test_gradients_become_the_mean_of_the_ranks(ranks) -> None:
    first, second = (record for _, record, _ in ranks)
    assert first["weights"] == second["weights"]
    assert first["mean"] == second["mean"]
    for name, mean in first["mean"].items():
        ours, theirs = first["local"][name], second["local"][name]
        if name.startswith("never"):
            assert mean is ours is theirs is None
            continue
        assert (theirs is None) == name.startswith("second")
        ours, theirs = np.float32(ours), np.float32(0.0 if theirs is None else theirs)
        assert np.any(ours)
        np.testing.assert_array_equal(np.float32(mean), (ours + theirs) / 2)


def test_buffers_become_those_of_rank_0(ranks) -> None:
    first, second = (record for _, record, _ in ranks)
    assert first["statistics"] != second["statistics"]
    assert first["shared"] == second["shared"] == first["statistics"]
    assert first["sum"] == second["sum"] == [3.0]


def test_a_rank_killed_during_communication_is_named(ranks) -> None:
    assert ranks[1][0] == -signal.SIGKILL
    code, _, error = ranks[0]
    assert code == 1
    assert "error: rank 1 is gone (its process ended; see its log workerlog.1)" in error
    assert "SIGABRT" not in error
