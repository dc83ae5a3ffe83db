"""The self-check of a GPU, where there is none: both sides of a CPU."""

import numpy as np
import pytest

from ppdet_ext import check_gpu
from ppdet_ext.check_gpu import Outcome, Side, differences, main, no_gpu


def test_prints_a_table_and_agrees(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["check_gpu", "--size", "96", "128"])
    monkeypatch.setattr(check_gpu, "sides", lambda: [Side("CPU", "cpu"), Side("CPU, as a GPU", "cpu", plain=True)])
    assert main() == 0
    out = capsys.readouterr().out
    assert ("These are the two sides of the CPU alone" in out) == bool(no_gpu())
    lines = [line for line in out.splitlines() if line.startswith("| CPU")]
    assert len(lines) == 2
    assert all(line.endswith("| ok |") for line in lines)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--size", "100", "128"], "--size 100 128: give height and width, multiples of 32 from 64 on."),
        (["--size", "0", "0"], "--size 0 0: give height and width"),
        (["--config", "configs/htc/steel_sampl.yml"], "Nearest existing one: configs/htc/steel_sample.yml"),
        (["--config", "configs/unet/unet_resnet18_steel_sample.yml"], "a SemanticSegmentor; give a detector of ours"),
    ],
)
def test_what_cannot_be_compared_is_one_line(words, message, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["check_gpu", *words])
    assert main() == 1
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_why_there_is_no_gpu(monkeypatch):
    monkeypatch.setattr(check_gpu.paddle, "is_compiled_with_cuda", lambda: False)
    assert "is the CPU build; for a GPU install paddlepaddle-gpu" in no_gpu()
    monkeypatch.setattr(check_gpu.paddle, "is_compiled_with_cuda", lambda: True)
    monkeypatch.setattr(check_gpu.paddle.device.cuda, "device_count", lambda: 0)
    assert "paddle sees no card" in no_gpu()
    monkeypatch.setattr(check_gpu.paddle.device.cuda, "device_count", lambda: 1)
    assert not no_gpu()


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
