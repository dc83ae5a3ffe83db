"""Ctrl-C during training, and what a run that starts anew leaves of an earlier one."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import paddle
import pytest
from paddle.autograd import PyLayer

from ppdet_ext.engine import cli, interrupt
from ppdet_ext.engine.checkpoint import find_checkpoint, newest_checkpoint
from ppdet_ext.engine.earlier_run import EarlierRun
from ppdet_ext.engine.hooks import Hook, MetricsFile, SaveCheckpoints
from ppdet_ext.engine.interrupt import Interrupted
from ppdet_ext.engine.trainer import Trainer
from tests.engine.engine_fakes import TinyModel, make_trainer


class InterruptedBackward(PyLayer):
    """The identity; Ctrl-C arrives in its backward."""

    @staticmethod
    def forward(ctx, x):
        return x + 0

    @staticmethod
    def backward(ctx, gradient):
        os.kill(os.getpid(), signal.SIGINT)
        return gradient * 1


class Steps(Hook):
    def __init__(self) -> None:
        self.done: list[tuple[int, int]] = []

    def after_step(self, trainer: Trainer) -> None:
        self.done.append((trainer.epoch, trainer.step))


def test_ctrl_c_inside_a_backward_ends_after_that_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = TinyModel.forward

    def with_signal(self, batch):
        losses = forward(self, batch)
        return {**losses, "loss": InterruptedBackward.apply(losses["loss"])}

    monkeypatch.setattr(TinyModel, "forward", with_signal)
    before, steps = signal.getsignal(signal.SIGINT), Steps()
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(tmp_path, extra=(steps,))
        with pytest.raises(KeyboardInterrupt):
            trainer.run()
    assert steps.done == [(0, 0)]
    assert signal.getsignal(signal.SIGINT) is before
    interrupt.check()  # nothing is left of it for what comes next


def test_a_failure_after_ctrl_c_is_the_interruption_and_any_other_is_itself() -> None:
    def fail(after_signal: bool) -> None:
        with interrupt.deferred():
            if after_signal:
                os.kill(os.getpid(), signal.SIGINT)
            raise RuntimeError("data worker died")

    with pytest.raises(KeyboardInterrupt):
        fail(after_signal=True)
    with pytest.raises(RuntimeError, match="worker"):
        fail(after_signal=False)


def test_second_ctrl_c_ends_the_process_at_once() -> None:
    program = (
        "import os, signal; from ppdet_ext.engine import interrupt\n"
        "with interrupt.deferred():\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('once', flush=True)\n"
        "    os.kill(os.getpid(), signal.SIGINT); print('twice', flush=True)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stdout) == (-signal.SIGINT, "once\n")
    assert done.stderr.strip() == "Stopping after this step; press Ctrl-C again to stop at once."


@pytest.mark.parametrize(("error", "expected"), [
    (KeyboardInterrupt(), "This run has not saved anything yet; start it again with: python tools/train.py -r auto --eval"),
    (Interrupted(None, "auto"),
     "This run has not saved anything yet; start it again with: python tools/train.py -r auto --eval"),
    (Interrupted(Path("out/x/3"), "auto"),
     "Saved: out/x/3. Go on from there with: python tools/train.py -r auto --eval"),
    (Interrupted(Path("out/x/3"), "out/x/3"),
     "Saved: out/x/3. Go on from there with: python tools/train.py -r out/x/3 --eval"),
])  # fmt: skip
def test_how_to_go_on(error: KeyboardInterrupt, expected: str) -> None:
    assert cli.how_to_go_on("tools/train.py", ["-r", "auto", "--eval"], error) == expected


def test_how_to_go_on_names_the_python_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["../tools/train.py", "--eval"])
    monkeypatch.setattr(sys, "orig_argv", ["python3.11", "-u", "../tools/train.py", "--eval"])
    assert cli.resume_command("tools/train.py", ["--eval"]) == "python3.11 -u ../tools/train.py -r auto --eval"


class StopAt(Hook):
    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def after_step(self, trainer: Trainer) -> None:
        if (trainer.epoch, trainer.step) == (self.epoch, 1):
            raise KeyboardInterrupt


def anew(folder: Path, stop: int) -> None:
    """A new run over what is in the folder, interrupted in epoch `stop`."""
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(folder, extra=(StopAt(stop),))
        earlier = EarlierRun(folder)
        for hook in trainer.hooks:
            if isinstance(hook, (SaveCheckpoints, MetricsFile)):
                hook.earlier = earlier
        with pytest.raises(KeyboardInterrupt):
            trainer.run()


def test_new_run_replaces_the_earlier_one_only_when_it_saves(tmp_path: Path) -> None:
    with paddle.utils.unique_name.guard():
        make_trainer(tmp_path).run()
    records, best = ((tmp_path / name).read_bytes() for name in ("metrics.jsonl", "best_model.pdparams"))
    anew(tmp_path, 0)
    assert newest_checkpoint(tmp_path).epoch == 4
    assert find_checkpoint(str(tmp_path / "best_model")).state
    assert (tmp_path / "metrics.jsonl").read_bytes() == records
    assert (tmp_path / "metrics.new.jsonl").exists()

    anew(tmp_path, 1)
    assert newest_checkpoint(tmp_path).epoch == 1
    assert not (tmp_path / "model_final.pdparams").exists()
    assert (tmp_path / "best_model.old.pdparams").read_bytes() == best
    assert json.loads((tmp_path / "best_model.json").read_text())["epoch"] == 1
    assert (tmp_path / "metrics.old.jsonl").read_bytes() == records
    epochs = [json.loads(line)["epoch"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert epochs == [0, 0, 0, 1]
    assert not (tmp_path / "metrics.new.jsonl").exists()
