"""Signals during training."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import paddle
import pytest
from paddle.autograd import PyLayer

from ppdet_ext.checkpoint import newest_checkpoint
from ppdet_ext.commands import train
from ppdet_ext.distributed import interrupt
from ppdet_ext.distributed.interrupt import Interrupted, Stop
from ppdet_ext.training.hooks import Hook
from ppdet_ext.training.state import TrainState
from tests.support.engine_fakes import TinyModel, make_trainer, run_tiny


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

    def after_step(self, state: TrainState) -> None:
        self.done.append((state.epoch, state.step))


def test_a_signal_inside_a_backward_ends_after_that_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forward = TinyModel.forward

    def with_signal(self, batch):
        losses = forward(self, batch)
        return {**losses, "loss": InterruptedBackward.apply(losses["loss"])}

    monkeypatch.setattr(TinyModel, "forward", with_signal)
    before, steps = [signal.getsignal(number) for number in interrupt.SIGNALS], Steps()
    with paddle.utils.unique_name.guard():
        trainer = make_trainer(tmp_path, extra=(steps,))
        with pytest.raises(Stop) as caught:
            trainer.train()
    assert caught.value.signum == signal.SIGINT
    assert steps.done == [(0, 0)]
    assert newest_checkpoint(tmp_path).position == (0, 1)
    assert [signal.getsignal(number) for number in interrupt.SIGNALS] == before
    interrupt.check()  # nothing is left of it for what comes next


class SignalAt(Hook):
    def __init__(self, number: int, moment: str, at: tuple[int, int]) -> None:
        self.number, self.moment, self.at = number, moment, at

    def before_epoch(self, state: TrainState) -> None:
        self._send("before_epoch", state)

    def after_step(self, state: TrainState) -> None:
        self._send("after_step", state)

    def after_epoch(self, state: TrainState) -> None:
        self._send("after_epoch", state)
        interrupt.check()  # as an evaluation does after each batch

    def _send(self, moment: str, state: TrainState) -> None:
        if (moment, self.at) == (self.moment, (state.epoch, state.step)):
            os.kill(os.getpid(), self.number)


@pytest.mark.parametrize(("number", "moment", "at", "saved"), [
    (signal.SIGTERM, "after_step", (1, 1), "epoch_1_step_2"),
    (signal.SIGUSR1, "after_step", (0, 0), "epoch_0_step_1"),
    (signal.SIGINT, "after_step", (1, 2), "epoch_1_step_3"),
    (signal.SIGTERM, "after_epoch", (1, 2), "epoch_1_step_3"),
    (signal.SIGTERM, "before_epoch", (2, 0), "epoch_2_step_1"),
])  # fmt: skip
def test_a_stopped_run_saves_where_it_is_and_goes_on_to_the_same_bits(tmp_path: Path, number, moment, at, saved) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    run_tiny(whole)
    with pytest.raises(Stop) as caught:
        run_tiny(parts, extra=(SignalAt(number, moment, at),))
    assert caught.value.signum == number
    assert newest_checkpoint(parts).path.name == saved
    run_tiny(parts, resume="auto")
    for name in ("model_final.pdparams", "best_model.pdparams", "metrics.jsonl", "checkpoints/epoch_3/model.pdopt"):
        assert (whole / name).read_bytes() == (parts / name).read_bytes(), name


def test_a_run_stopped_before_its_first_step_has_nothing_to_save(tmp_path: Path) -> None:
    def stopped() -> None:
        with interrupt.deferred():
            os.kill(os.getpid(), signal.SIGTERM)
            run_tiny(tmp_path)

    with pytest.raises(Stop):
        stopped()
    assert newest_checkpoint(tmp_path) is None


def test_a_failure_after_a_signal_is_the_interruption_and_any_other_is_itself() -> None:
    def fail(after_signal: bool) -> None:
        with interrupt.deferred():
            if after_signal:
                os.kill(os.getpid(), signal.SIGTERM)
            raise RuntimeError("data worker died")

    with pytest.raises(Stop) as caught:
        fail(after_signal=True)
    assert caught.value.signum == signal.SIGTERM
    with pytest.raises(RuntimeError, match="worker"):
        fail(after_signal=False)


SECOND = """
import os, signal, sys, time
from ppdet_ext.distributed import interrupt
interrupt.LAUNCHER_SECONDS = 0.5
with interrupt.deferred():
    for pause in map(float, sys.argv[2:]):
        time.sleep(pause)
        os.kill(os.getpid(), int(sys.argv[1]))
        print("signal", flush=True)
    time.sleep(0.2)
    print(interrupt.requested())
"""


@pytest.mark.parametrize(("number", "ranks", "pauses", "code", "signals"), [
    (signal.SIGINT, None, ["0", "0.1"], 130, 2),
    (signal.SIGTERM, None, ["0", "0.1"], 143, 2),
    (signal.SIGTERM, 1, ["0", "0.1", "0.1"], 0, 3),  # the launcher sends it three times
    (signal.SIGTERM, 2, ["0", "0.1", "0.6"], 143, 3),
])  # fmt: skip
def test_a_second_signal_ends_the_process_at_once_but_not_the_launchers_echo(number, ranks, pauses, code, signals) -> None:
    done = subprocess.run(
        [sys.executable, "-c", SECOND, str(int(number)), *pauses],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        env={**os.environ, **({"PADDLE_TRAINERS_NUM": str(ranks)} if ranks else {})},
        timeout=120,
    )
    assert done.returncode == code, done.stderr
    # The process may end before it can say that the last one was sent.
    assert done.stdout.count("signal") in (signals, signals - bool(code))
    assert done.stdout.endswith(f"{int(number)}\n") == (code == 0)
    assert done.stderr.strip() == f"{number.name}: stopping after this step; once more stops at once."


@pytest.mark.parametrize(("error", "expected"), [
    (KeyboardInterrupt(), "This run has not saved anything yet; start it again with: python tools/train.py -r auto --eval"),
    (Interrupted(2, None, "auto"),
     "This run has not saved anything yet; start it again with: python tools/train.py -r auto --eval"),
    (Interrupted(15, Path("out/x/3"), "auto"),
     "Saved: out/x/3. Go on from there with: python tools/train.py -r auto --eval"),
    (Interrupted(15, Path("out/x/3"), "out/x/3"),
     "Saved: out/x/3. Go on from there with: python tools/train.py -r out/x/3 --eval"),
])  # fmt: skip
def test_how_to_go_on(error: KeyboardInterrupt, expected: str) -> None:
    assert train.how_to_go_on("tools/train.py", ["-r", "auto", "--eval"], error) == expected


def test_how_to_go_on_names_the_python_that_ran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["../tools/train.py", "--eval"])
    monkeypatch.setattr(sys, "orig_argv", ["python3.11", "-u", "../tools/train.py", "--eval"])
    assert train.resume_command("tools/train.py", ["--eval"]) == "python3.11 -u ../tools/train.py -r auto --eval"


def test_how_to_go_on_under_the_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PADDLE_TRAINERS_NUM", "2")
    error = Interrupted(15, Path("out/x/3"), "auto")
    expected = "Saved: out/x/3. Go on from there with: the same launch, with -r auto after tools/train.py"
    assert train.how_to_go_on("tools/train.py", ["--eval"], error) == expected


@pytest.mark.parametrize("words", ["-r auto", "-rauto", "--resume=auto", "--resume auto", "-r x --allow_change seed config"])
def test_the_command_to_go_on_has_no_other_r_and_allows_no_changes_again(words: str) -> None:
    command = train.resume_command("tools/train.py", [*words.split(), "--eval", "-o", "epoch=3", "a=-1"])
    assert command == "python tools/train.py -r auto --eval -o epoch=3 a=-1"


EARLY = """
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
import os
from ppdet_ext.distributed import interrupt
os.kill(os.getpid(), signal.SIGUSR1)
print("imported", flush=True)
with interrupt.deferred():
    print(interrupt.requested(), flush=True)
os.kill(os.getpid(), signal.SIGUSR1)
print("ended")
"""


def test_a_request_while_importing_is_kept_and_one_after_the_end_does_not_kill() -> None:
    program = [sys.executable, "-c", EARLY]
    done = subprocess.run(program, capture_output=True, text=True, cwd=Path(__file__).parents[2], timeout=120)
    assert (done.returncode, done.stdout.split()) == (0, ["imported", str(int(signal.SIGUSR1)), "ended"])
