"""The training loop."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import paddle

from ppdet_ext.errors import DivergenceError, UserError

from . import interrupt
from .hooks.average import AverageWeights
from .hooks.base import Hook


class Trainer:
    """Trains `model` on `loader`::

        hooks.before_train()
        for epoch in range(start_epoch, epochs):
            loader.set_epoch(epoch)
            hooks.before_epoch()
            for step, batch in enumerate(loader):
                seed_step(seed, epoch, step, rank)      # randomness is a function of where we are
                losses = model(batch)                   # dict of scalars, "loss" is their sum
                check that all losses are finite, else DivergenceError naming the images
                losses["loss"].backward(); optimizer.step(); schedule.step(); optimizer.clear_grad()
                hooks.after_step()
            hooks.after_epoch()                         # evaluate, then save
        hooks.after_train()

    Hooks run in the order given. What they read is public here: `epoch`, `step`, `steps_per_epoch`, `losses`
    (name -> float, this step), `learning_rate` (of this step), `batch_cost` and `data_cost` (seconds of this step),
    `batch_size`, `metrics` (of this epoch's evaluation, or None).

    Args:
        model: losses from `model(batch)` in train mode; possibly wrapped by DataParallel.
        optimizer: built over `schedule`.
        schedule: learning rate per step.
        loader: sized iterable of batches with `set_epoch(epoch)`.
        epochs: number of epochs of the whole run.
        seed: of everything random in the model.
        amp: mixed precision with loss scaling; of effect on GPUs only.
        rank: of this process; ranks draw different numbers.
    """

    def __init__(
        self,
        model: paddle.nn.Layer,
        optimizer: paddle.optimizer.Optimizer,
        schedule: paddle.optimizer.lr.LRScheduler,
        loader: Iterable[dict[str, Any]],
        *,
        epochs: int,
        batch_size: int,
        seed: int = 0,
        amp: bool = False,
        hooks: Sequence[Hook] = (),
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
        self.amp = amp
        self.scaler = paddle.amp.GradScaler(init_loss_scaling=1024) if amp else None
        self.start_epoch = 0
        self.epoch = 0
        self.step = 0
        self.steps_per_epoch = len(loader)
        self.losses: dict[str, float] = {}
        self.learning_rate = 0.0
        self.batch_cost = 0.0
        self.data_cost = 0.0
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
        """Train from `start_epoch` to the end.

        Raises:
            DivergenceError: a loss became NaN or infinite; the weights are those before that batch.
            KeyboardInterrupt: after the step in which Ctrl-C was pressed.
        """
        with interrupt.deferred():
            self._run()

    def _run(self) -> None:
        self._call("before_train")
        for epoch in range(self.start_epoch, self.epochs):
            self.epoch, self.metrics = epoch, None
            self.loader.set_epoch(epoch)
            self._call("before_epoch")
            self.model.train()
            for step, batch in enumerate(self._timed(self.loader)):
                self.step = step
                seed_step(self.seed, epoch, step, self.rank)
                self._train_step({**batch, "epoch": epoch})
                self._call("after_step")
                interrupt.check()
            self._call("after_epoch")
            interrupt.check()
        self._call("after_train")

    def _call(self, moment: str) -> None:
        for hook in self.hooks:
            getattr(hook, moment)(self)

    def _timed(self, loader: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """The batches; takes the time spent waiting for each, and for each whole step before the hooks see it."""
        iterator = iter(loader)
        while True:
            self._step_began = time.perf_counter()
            batch = next(iterator, None)
            if batch is None:
                return
            self.data_cost = time.perf_counter() - self._step_began
            yield batch

    def _train_step(self, batch: dict[str, Any]) -> None:
        with paddle.amp.auto_cast(enable=self.amp):
            try:
                losses = self.model(batch)
            except DivergenceError as error:
                raise DivergenceError(f"{error} {self._where(batch)}") from error
        self._read_losses(losses, batch)
        self.learning_rate = self.optimizer.get_lr()
        if self.scaler is None:
            losses["loss"].backward()
            self.optimizer.step()
        else:
            scaled = self.scaler.scale(losses["loss"])
            scaled.backward()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.schedule.step()
        self.optimizer.clear_grad()
        self.batch_cost = time.perf_counter() - self._step_began

    def _read_losses(self, losses: dict[str, paddle.Tensor], batch: dict[str, Any]) -> None:
        """Fetch all losses in one transfer, before the weights change: a bad batch must not reach them."""
        stacked = paddle.stack([value.detach().astype("float32").reshape([]) for value in losses.values()]).numpy()
        self.losses = dict(zip(losses, stacked.tolist()))
        bad = [name for name, value in self.losses.items() if not np.isfinite(value)]
        if bad:
            values = ", ".join(f"{name} = {self.losses[name]}" for name in bad)
            raise DivergenceError(f"{values} {self._where(batch)}")

    def _where(self, batch: dict[str, Any]) -> str:
        return (
            f"in epoch {self.epoch}, step {self.step}; training stopped. Images of this batch: "
            f"{', '.join(map(str, batch['names']))}. Look at them, or lower the learning rate "
            "(-o LearningRate.base_lr=…), or clip gradients (-o OptimizerBuilder.clip_grad_by_norm=35)."
        )

    def state_dict(self) -> dict[str, Any]:
        """JSON-able state beside weights and optimizer: the loss scaler's, and each hook's under its class name."""
        state = {type(hook).__name__: hook.state_dict() for hook in self.hooks if hook.state_dict()}
        if self.scaler is not None:
            state["scaler"] = {
                key: value.item() if hasattr(value, "item") else value for key, value in self.scaler.state_dict().items()
            }
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave; UserError when it is the state of a run with other hooks' formats."""
        try:
            for hook in self.hooks:
                if type(hook).__name__ in state:
                    hook.load_state_dict(state[type(hook).__name__])
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
