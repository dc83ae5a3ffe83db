"""The training loop."""

import contextlib
import itertools
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import paddle

from ppdet_ext import distributed
from ppdet_ext.checkpoint import Position, RunFingerprint, save_checkpoint
from ppdet_ext.distributed import interrupt
from ppdet_ext.errors import UserError

from .hooks import AverageWeights, Hook
from .loss_guard import LossGuard
from .state import TrainState

Batch = dict[str, Any]


class EpochLoader(Protocol):
    """What the trainer needs of a loader."""

    def __len__(self) -> int:
        """Number of batches in an epoch."""

    def __iter__(self) -> Iterator[Batch]:
        """The batches of the epoch that was set."""

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Choose the epoch, and the first of its batches to give."""


class Trainer:
    """Trains a model on a loader; `Hook` shows the loop.

    Args:
        model: losses from `model(batch)` in train mode; possibly wrapped by DataParallel.
        optimizer: built over `schedule`.
        schedule: learning rate per step.
        loader: of batches that depend on the epoch and their number in it only.
        fingerprint: of the run, for its checkpoints.
        epochs: number of epochs of the whole run.
        batch_size: images of a step on one rank, for the log.
        seed: of everything random in the model.
        amp: mixed precision with loss scaling; of effect on GPUs only.
        accumulation: batches of one step; the last step of an epoch may have fewer.
        hooks: in any order (see `Kind`).
        guard: what to do with losses that are not finite.
        rank: of this process; ranks draw different numbers.

    Attributes:
        state: what hooks see.
        hooks: in the order in which they are called.
    """

    def __init__(
        self,
        model: paddle.nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        schedule: paddle.optimizer.lr.LRScheduler,
        loader: EpochLoader,
        fingerprint: RunFingerprint,
        *,
        epochs: int,
        batch_size: int,
        seed: int = 0,
        amp: bool = False,
        accumulation: int = 1,
        hooks: Sequence[Hook] = (),
        guard: LossGuard | None = None,
        rank: int = 0,
    ) -> None:
        self.model, self.optimizer, self.schedule, self.loader = model, optimizer, schedule, loader
        self.fingerprint, self.seed, self.amp, self.accumulation = fingerprint, seed, amp, accumulation
        self.hooks = sorted(hooks, key=lambda hook: hook.kind)
        self.guard = guard or LossGuard()
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=1024) if amp else None
        names = [type(hook).__name__ for hook in hooks if hook.state_dict()]
        if len({*names}) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UserError(
                f"hooks: two of them are of a class named {twice}, under which a checkpoint keeps their state; "
                "give one of them, or a subclass of another name."
            )
        bare = getattr(model, "_layers", model)
        steps = -(-len(loader) // accumulation)
        self.state = TrainState(bare, optimizer, epochs, steps, batch_size, self._save_to, rank)
        self.state.average = next((hook for hook in self.hooks if isinstance(hook, AverageWeights)), None)
        self._step_began = 0.0

    def train(self) -> None:
        """Train from `state.start` to the end.

        Raises:
            DivergenceError: a loss became NaN or infinite; the weights are those before that batch.
            Stop: after the step in which a signal came, once the hooks' `on_stop` has saved.
        """
        state = self.state
        with interrupt.deferred():
            self._notify("before_train")
            for epoch in range(state.start.epoch, state.epochs):
                self._train_epoch(epoch, state.start.step if epoch == state.start.epoch else 0)
            self._notify("after_train")

    def _train_epoch(self, epoch: int, first: int) -> None:
        state = self.state
        state.epoch, state.step, state.metrics, state.named = epoch, first, None, {}
        # The last step of an epoch may have fewer batches.
        self.loader.set_epoch(epoch, min(first * self.accumulation, len(self.loader)))
        self._stop_if_asked(Position(epoch, first))
        self._notify("before_epoch")
        self.model.train()
        # Where an epoch is already complete there is nothing to load: only its end, the evaluation, is made up for.
        for step, batches in self._steps(first) if first < state.steps_per_epoch else ():
            state.step = step
            self._train_step(batches)
            self._notify("after_step")
            self._stop_if_asked(Position(epoch, step + 1))
        # The evaluation begins with known random numbers too.
        seed_step(self.seed, epoch, state.steps_per_epoch, state.rank)
        try:
            self._notify("after_epoch")
        except interrupt.Stop:
            self._notify("on_stop", Position(epoch, state.steps_per_epoch))
            raise

    def _notify(self, moment: str, *arguments: Any) -> None:
        """Call that method of each hook."""
        for hook in self.hooks:
            getattr(hook, moment)(self.state, *arguments)

    def _save_to(self, folder: Path, position: Position, finite: bool) -> None:
        self._notify("before_save")
        parts = self.state_dict()
        with self.state.evaluated_weights() as own:
            save_checkpoint(folder, self.state.model, self.optimizer, position, parts, self.fingerprint, own, finite=finite)

    def _stop_if_asked(self, position: Position) -> None:
        if signum := interrupt.agreed():
            self._notify("on_stop", position)
            raise interrupt.Stop(signum)

    def _steps(self, first: int) -> Iterator[tuple[int, list[Batch]]]:
        """Number and batches of the steps left; takes the time of waiting for data, and of the step before the hooks see it."""
        iterator = iter(self.loader)
        for step in itertools.count(first):
            distributed.phase(f"waiting for data, epoch {self.state.epoch} step {step}")
            self._step_began = time.perf_counter()
            batches = list(itertools.islice(iterator, self.accumulation))
            if not batches:
                return
            self.state.data_cost = time.perf_counter() - self._step_began
            yield step, batches

    def _train_step(self, batches: list[Batch]) -> None:
        state = self.state
        distributed.phase(f"training, epoch {state.epoch} step {state.step}")
        seed_step(self.seed, state.epoch, state.step, state.rank)
        state.learning_rate = self.optimizer.get_lr()
        self.guard.start_step(state.model)
        for number, batch in enumerate(batches, 1):
            self._backward(batch, len(batches), last=number == len(batches))
        if not self.guard.skipping:
            self._update()
        state.losses = self.guard.mean_losses()
        self.schedule.step()
        self.optimizer.clear_grad()
        state.batch_cost = time.perf_counter() - self._step_began

    def _backward(self, batch: Batch, count: int, last: bool) -> None:
        """Add a batch's share to the gradients, averaged over ranks at the last one, unless the step is skipped."""
        with contextlib.nullcontext() if last else self._unsynchronized():
            with paddle.amp.auto_cast(enable=self.amp):
                losses = self.guard.forward(self.model, {**batch, "epoch": self.state.epoch}, self.state)
            if losses is not None:
                loss = losses["loss"] if count == 1 else losses["loss"] / count
                if last and getattr(self.model, "grad_need_sync", False):
                    distributed.phase(f"averaging gradients, epoch {self.state.epoch} step {self.state.step}", waiting=True)
                (loss if self.scaler is None else self.scaler.scale(loss)).backward()

    def _unsynchronized(self) -> contextlib.AbstractContextManager[None]:
        return self.model.no_sync() if isinstance(self.model, paddle.DataParallel) else contextlib.nullcontext()

    def _update(self) -> None:
        distributed.average_gradients(self.model)
        if self.scaler is None:
            self.optimizer.step()
        else:
            self.scaler.step(self.optimizer)
            self.scaler.update()

    def _parts(self) -> list[Hook | LossGuard]:
        return [*self.hooks, self.guard]

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state beside weights and optimizer: the loss scaler's, and each hook's under its class name."""
        parts = {type(part).__name__: part.state_dict() for part in self._parts()}
        state = {name: part for name, part in parts.items() if part}
        if self.scaler is not None:
            state["scaler"] = {
                key: value.item() if hasattr(value, "item") else value for key, value in self.scaler.state_dict().items()
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave; UserError when it is the state of a run with other hooks' formats."""
        try:
            for part in self._parts():
                if type(part).__name__ in state:
                    part.load_state_dict(state[type(part).__name__])
            if self.scaler is not None and state.get("scaler"):
                scale = np.array([state["scaler"]["scale"]], "float32")
                self.scaler.load_state_dict({**state["scaler"], "scale": scale})
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(f"The checkpoint's training state does not fit this run: {error!r}") from error


def seed_step(seed: int, epoch: int, step: int, rank: int) -> None:
    """Seed paddle's and numpy's global generators (ppdet's parts draw from them) for one step of one rank.

    With this no generator state has to be kept for a run to be resumed exactly.
    """
    value = int(np.random.SeedSequence([seed, epoch, step, rank]).generate_state(1)[0])
    paddle.seed(value)
    np.random.seed(value)
