"""What a forked run does to itself (see `forked_runs.Change`): dies at a place, runs out of disk, forgets something."""

import contextlib
import os
import resource
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SIGKILL = int(signal.SIGKILL)


def add_hook(hook: Any) -> None:
    """Let `train` of this process call `hook` too."""
    from ppdet_ext.training import train as module

    original = module.train
    module.train = lambda *args, hooks=(), **kwargs: original(*args, hooks=(*hooks, hook), **kwargs)


@dataclass(frozen=True)
class Strike:
    """The process sends itself a signal after `step` of `epoch` (both from 0), or at another moment of the hooks.

    Args:
        moment: method of `Hook` in which it happens: 'after_step'; 'after_epoch': between evaluation and save;
            'before_epoch': after the save of the epoch before (`step` is 0 then).
        ranks: those that do it.
    """

    epoch: int
    step: int
    signum: int = SIGKILL
    moment: str = "after_step"
    ranks: tuple[int, ...] = (0,)

    def __call__(self, rank: int) -> None:
        if rank in self.ranks:
            add_hook(self._hook())

    def _hook(self) -> Any:
        from ppdet_ext.training.hooks import Hook

        def strike(hook: Any, state: Any) -> None:
            if state.epoch == self.epoch and (self.moment != "after_step" or state.step == self.step):
                os.kill(os.getpid(), self.signum)

        return type("StrikeHook", (Hook,), {self.moment: strike})()


@dataclass(frozen=True)
class KillInSave:
    """SIGKILL before the `count`-th file operation (from 1) below `folder` that follows `step` of `epoch`.

    Operations are what Python reports to audit hooks (open, rename, remove, mkdir, rmdir), and fsync; they are logged.
    """

    folder: Path
    epoch: int
    step: int
    count: int

    def __call__(self, rank: int) -> None:
        from ppdet_ext.training.hooks import Hook

        done = []

        def operation(path: str) -> None:
            if done and path.startswith(str(self.folder)):
                done.append(path)
                os.write(2, f"operation {len(done) - 1}: {path}\n".encode())
                if len(done) > self.count:
                    os.kill(os.getpid(), signal.SIGKILL)

        def arm(hook: Any, state: Any) -> None:
            if (state.epoch, state.step) == (self.epoch, self.step):
                done.append("")

        add_hook(type("ArmHook", (Hook,), {"after_step": arm})())
        _report_operations(operation)


def _report_operations(report: Callable[[str], None]) -> None:
    """Call `report` with the absolute path before each file operation of this process."""
    fsync = os.fsync

    def audited(event: str, arguments: tuple) -> None:
        if event in ("open", "os.rename", "os.remove", "os.mkdir", "os.rmdir") and isinstance(arguments[0], (str, Path)):
            report(_absolute(str(arguments[0]), arguments[-1] if event in ("os.remove", "os.rmdir") else -1))

    def counted_fsync(handle: Any) -> None:
        number = handle if isinstance(handle, int) else handle.fileno()
        report(os.readlink(f"/proc/self/fd/{number}"))
        fsync(handle)

    os.fsync = counted_fsync
    sys.addaudithook(audited)


def _absolute(path: str, folder_handle: int) -> str:
    with contextlib.suppress(OSError):
        if folder_handle >= 0:
            return os.path.join(os.readlink(f"/proc/self/fd/{folder_handle}"), path)
    return os.path.abspath(path)


@dataclass(frozen=True)
class FileSizeLimit:
    """No file can grow beyond `size` bytes: writing fails (EFBIG) as it does on a full disk."""

    size: int

    def __call__(self, rank: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.size, self.size))


@dataclass(frozen=True)
class LossScalerOnCpu:
    """--amp with a loss scaler that works, which paddle has for GPUs only; its scale changes every few steps.

    It begins where gradients overflow, so that steps are skipped, and its ratios are no powers of two, so that a
    wrong scale changes the weights' last bits.
    """

    def __call__(self, rank: int) -> None:
        import paddle
        from paddle.amp import grad_scaler

        from ppdet_ext.training import train as module

        class Scaler(paddle.amp.GradScaler):
            def __init__(self, **kwargs: Any) -> None:
                on_gpu = type("Tracer", (), {"_expected_place": type("Place", (), {"is_gpu_place": lambda self: True})()})
                real, grad_scaler._dygraph_tracer = grad_scaler._dygraph_tracer, on_gpu
                try:
                    ratios = {"incr_ratio": 3.3, "decr_ratio": 0.3, "incr_every_n_steps": 2}
                    super().__init__(**{**kwargs, **ratios, "init_loss_scaling": 3e37})
                finally:
                    grad_scaler._dygraph_tracer = real

            def scale(self, loss: paddle.Tensor) -> paddle.Tensor:
                return loss * self._scale

        paddle.amp.GradScaler = Scaler
        module._amp_works = lambda cfg: True


@dataclass(frozen=True)
class ApThatPeaks:
    """Evaluations as they are, but for the deciding number, 0 for a model this small: best after the second epoch.

    It depends on the weights in its last digits.
    """

    def __call__(self, rank: int) -> None:
        from ppdet_ext.training.hooks import Evaluate

        after_epoch = Evaluate.after_epoch

        def evaluate(hook: Any, state: Any) -> None:
            after_epoch(hook, state)
            if state.metrics is not None:
                weight = state.model.parameters()[0].mean().item()
                name = "segm" if "segm" in state.metrics else next(iter(state.metrics))
                state.metrics[name][0] = (0.2, 0.3, 0.1)[state.epoch] + weight / 1000

        Evaluate.after_epoch = evaluate


@dataclass(frozen=True)
class Forget:
    """A resume that is broken on purpose, to see that the comparison notices: what is named in `thing` is not restored."""

    thing: str

    def __call__(self, rank: int) -> None:
        import paddle

        from ppdet_ext.data.loading.loader import Loader
        from ppdet_ext.host.look_ahead import LookAhead
        from ppdet_ext.training.hooks import AverageWeights, MetricsFile, ReportToSchedule, SaveCheckpoints

        def nothing(*args: Any, **kwargs: Any) -> None:
            return None

        set_epoch = Loader.set_epoch
        changes = {
            "average's count": (AverageWeights, "load_state_dict", nothing),
            "best so far": (SaveCheckpoints, "load_state_dict", nothing),
            "mean of the losses": (MetricsFile, "load_state_dict", nothing),
            "optimizer": (paddle.optimizer.Optimizer, "set_state_dict", nothing),
            "slow weights": (LookAhead, "load_state_dict", nothing),
            "mean loss of the epoch": (ReportToSchedule, "load_state_dict", nothing),
            "loss scale": (paddle.amp.GradScaler, "load_state_dict", nothing),
            "place in the epoch": (Loader, "set_epoch", lambda self, epoch, start=0: set_epoch(self, epoch)),
        }
        owner, name, replacement = changes[self.thing]
        assert hasattr(owner, name)
        setattr(owner, name, replacement)
