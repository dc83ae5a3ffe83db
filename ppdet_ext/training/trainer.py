"""The training loop."""

import contextlib
import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import paddle

from ppdet_ext import distributed
from ppdet_ext.checkpoint import Position
from ppdet_ext.distributed import interrupt
from ppdet_ext.errors import UserError
from ppdet_ext.training.hooks.base import Hook
from ppdet_ext.training.hooks.ema import AverageWeights

from .loss_guard import LossGuard

Batch = dict[str, Any]


class Trainer:
    """Trains `model` on `loader`::

        hooks.before_train()
        for epoch in range(start_epoch, epochs):
            loader.set_epoch(epoch, first batch)        # start_step > 0 goes on in mid-epoch
            if any rank was told to stop: hooks.on_stop(), raise Stop
            hooks.before_epoch()
            for batches in the loader's, `accumulation` at a time:
                seed_step(seed, epoch, step, rank)      # randomness is a function of where we are
                for batch in batches:
                    losses = model(batch)               # dict of scalars, "loss" is their sum
                    check that the losses of all ranks are finite, else skip the step or DivergenceError
                    (losses["loss"] / len(batches)).backward()
                optimizer.step(); schedule.step(); optimizer.clear_grad()
                hooks.after_step()
                if any rank was told to stop: hooks.on_stop(), raise Stop
            seed_step(seed, epoch, steps_per_epoch, rank)
            hooks.after_epoch()                         # evaluate, then save
        hooks.after_train()

    Hooks run in the order given, those of each rank on it. What they read is public here: `epoch`, `step`, `steps_per_epoch`,
    `losses` (name -> float, mean of this step's batches and of the ranks; empty if the step was skipped), `learning_rate`
    (of this step), `batch_cost` and `data_cost` (seconds of this step), `batch_size`, `metrics` (of this epoch's
    evaluation, or None).

    Args:
        model: losses from `model(batch)` in train mode; possibly wrapped by DataParallel.
        optimizer: built over `schedule`.
        schedule: learning rate per step.
        loader: sized iterable of batches with `set_epoch(epoch, start)`.
        epochs: number of epochs of the whole run.
        batch_size: images of a batch, for the log.
        seed: of everything random in the model.
        amp: mixed precision with loss scaling; of effect on GPUs only.
        accumulation: batches of one step; the last step of an epoch may have fewer.
        guard: what to do with losses that are not finite.
        rank: of this process; ranks draw different numbers.
    """

    def __init__(
        self,
        model: paddle.nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        schedule: paddle.optimizer.lr.LRScheduler,
        loader: Iterable[Batch],
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
        self.model = model
        self.optimizer = optimizer
        self.schedule = schedule
        self.loader = loader
        self.epochs = epochs
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank
        self.hooks = list(hooks)
        self.guard = guard or LossGuard()
        names = [type(hook).__name__ for hook in hooks if hook.state_dict()]
        if len({*names}) < len(names):
            raise ValueError(f"two hooks of one class would share their state in a checkpoint: {', '.join(names)}")
        self.amp = amp
        self.accumulation = accumulation
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=1024) if amp else None
        self.start_epoch = self.start_step = 0
        self.epoch = self.step = 0
        self.steps_per_epoch = -(-len(loader) // accumulation)
        self.losses: dict[str, float] = {}
        self.learning_rate = self.batch_cost = self.data_cost = 0.0
        self.metrics: dict[str, list[float]] | None = None

    @property
    def iteration(self) -> int:
        """Number of the current step, counted over the whole run from 0."""
        return self.epoch * self.steps_per_epoch + self.step

    @property
    def bare_model(self) -> paddle.nn.Layer:
        """The model without its DataParallel wrapper."""
        return getattr(self.model, "_layers", self.model)

    def averaged_weights(self) -> contextlib.AbstractContextManager[dict[str, paddle.Tensor] | None]:
        """Within the block the model has the averaged weights, if an `AverageWeights` hook keeps any."""
        average = next((hook for hook in self.hooks if isinstance(hook, AverageWeights)), None)
        return average.applied(self.bare_model) if average else contextlib.nullcontext()

    def run(self) -> None:
        """Train from `start_epoch` and `start_step` to the end.

        Raises:
            DivergenceError: a loss became NaN or infinite; the weights are those before that batch.
            Stop: after the step in which a signal came, once the hooks' `on_stop` has saved.
        """
        with interrupt.deferred():
            self._call("before_train")
            for epoch in range(self.start_epoch, self.epochs):
                self._run_epoch(epoch, self.start_step if epoch == self.start_epoch else 0)
            self._call("after_train")

    def _run_epoch(self, epoch: int, first: int) -> None:
        self.epoch, self.step, self.metrics = epoch, first, None
        # The last step of an epoch may have fewer batches.
        self.loader.set_epoch(epoch, min(first * self.accumulation, len(self.loader)))
        self._stop_if_asked(Position(epoch, first))
        self._call("before_epoch")
        self.model.train()
        # Where an epoch is already complete there is nothing to load: only its end, the evaluation, is made up for.
        for step, batches in self._steps(first) if first < self.steps_per_epoch else ():
            self.step = step
            self._train_step(batches)
            self._call("after_step")
            self._stop_if_asked(Position(epoch, step + 1))
        # The evaluation begins with known random numbers too.
        seed_step(self.seed, epoch, self.steps_per_epoch, self.rank)
        try:
            self._call("after_epoch")
        except interrupt.Stop:
            self._call("on_stop", Position(epoch, self.steps_per_epoch))
            raise

    def _call(self, moment: str, *arguments: Any) -> None:
        for hook in self.hooks:
            getattr(hook, moment)(self, *arguments)

    def _stop_if_asked(self, position: Position) -> None:
        if signum := interrupt.agreed():
            self._call("on_stop", position)
            raise interrupt.Stop(signum)

    def _steps(self, first: int) -> Iterator[tuple[int, list[Batch]]]:
        """Number and batches of the steps left; takes the time of waiting for data, and of the step before the hooks see it."""
        iterator = iter(self.loader)
        for step in itertools.count(first):
            distributed.phase(f"waiting for data, epoch {self.epoch} step {step}")
            self._step_began = time.perf_counter()
            batches = list(itertools.islice(iterator, self.accumulation))
            if not batches:
                return
            self.data_cost = time.perf_counter() - self._step_began
            yield step, batches

    def _train_step(self, batches: list[Batch]) -> None:
        distributed.phase(f"training, epoch {self.epoch} step {self.step}")
        seed_step(self.seed, self.epoch, self.step, self.rank)
        self.learning_rate = self.optimizer.get_lr()
        self.guard.begin(self)
        for number, batch in enumerate(batches, 1):
            self._backward(batch, len(batches), last=number == len(batches))
        if not self.guard.skipping:
            self._update()
        self.losses = self.guard.end()
        self.schedule.step()
        self.optimizer.clear_grad()
        self.batch_cost = time.perf_counter() - self._step_began

    def _backward(self, batch: Batch, count: int, last: bool) -> None:
        """Add a batch's share to the gradients, averaged over ranks at the last one, unless the step is skipped."""
        with contextlib.nullcontext() if last else self._unsynchronized():
            with paddle.amp.auto_cast(enable=self.amp):
                losses = self.guard.forward(self, {**batch, "epoch": self.epoch})
            if losses is not None:
                loss = losses["loss"] if count == 1 else losses["loss"] / count
                if last and getattr(self.model, "grad_need_sync", False):
                    distributed.phase(f"averaging gradients, epoch {self.epoch} step {self.step}", waiting=True)
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

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state beside weights and optimizer: the loss scaler's, and each hook's under its class name."""
        parts = {type(part).__name__: part.state_dict() for part in (*self.hooks, self.guard)}
        state = {name: part for name, part in parts.items() if part}
        if self.scaler is not None:
            state["scaler"] = {
                key: value.item() if hasattr(value, "item") else value for key, value in self.scaler.state_dict().items()
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave; UserError when it is the state of a run with other hooks' formats."""
        try:
            for part in (*self.hooks, self.guard):
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
