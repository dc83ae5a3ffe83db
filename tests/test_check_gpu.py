"""The self-check of a GPU, where there is none: both sides of a CPU."""

import numpy as np

from ppdet_ext import check_gpu
from ppdet_ext.check_gpu import Outcome, Side, differences, main


def test_prints_a_table_and_agrees(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["check_gpu", "--size", "96", "128"])
    monkeypatch.setattr(check_gpu, "sides", lambda: [Side("CPU", "cpu"), Side("CPU, as a GPU", "cpu", plain=True)])
    assert main() == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| CPU")]
    assert len(lines) == 2
    assert all(line.endswith("| ok |") for line in lines)


def test_a_difference_ends_it_with_1(monkeypatch, capsys):
    outcomes = [Outcome({"loss": loss}, {"w": np.ones(4, np.float32)}, [], 0.0) for loss in (1.0, 1.1)]
    monkeypatch.setattr("sys.argv", ["check_gpu"])
    monkeypatch.setattr(check_gpu, "sides", lambda: [Side("CPU", "cpu"), Side("other", "cpu")])
    monkeypatch.setattr(check_gpu, "computed", lambda *_: (outcomes.pop(0), {}))
    assert main() == 1
    assert "LARGER THAN ROUNDING" in capsys.readouterr().out


def test_differences():
    one = Outcome({"loss": 1.0}, {"w": np.ones(4, np.float32)}, [], 0.0)
    other = Outcome({"loss": 1.1}, {"w": np.array([1, 1, 1, 3], np.float32)}, [], 0.0)
    loss, gradient, score = differences(one, other)
    assert (round(loss, 6), gradient, score) == (0.1, 1.0, 0)
