"""Curves of a training for viewers: what is written, under which names and steps; TensorBoard's files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ppdet_ext.errors import UserError
from ppdet_ext.files.event_file import EventFile, forget
from ppdet_ext.training.state import TrainState

from .base import Hook

TRAIN, EVAL = "train/", "eval/"


class ScalarHook(Hook):
    """Hands scalars to a viewer: losses, learning rate, speed each `log_iter` steps, and all numbers of each evaluation.

    Names begin with `train/` and `eval/`. A step is that of the whole run, counted from 0; an evaluation has that of the
    last step before it. Numbers of -1, of what does not occur, are left out. Only rank 0 writes.

    Subclasses implement `open`, `write` and, where there is something to do, `close`.
    """

    def __init__(self, log_iter: int = 20) -> None:
        self.log_iter = log_iter
        self._writes = False

    def open(self, state: TrainState) -> None:
        """Begin, or go on at `state.start`."""

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """Take the values of a step by name."""
        raise NotImplementedError

    def close(self) -> None:
        """Finish, also where the run ends early."""

    def before_train(self, state: TrainState) -> None:
        self._writes = state.rank == 0
        if self._writes:
            self.open(state)

    def after_step(self, state: TrainState) -> None:
        if self._writes and (state.step % self.log_iter == 0 or state.step == state.steps_per_epoch - 1):
            speed = state.batch_size / state.batch_cost if state.batch_cost else 0.0
            more = {"learning_rate": state.learning_rate, "images_per_second": speed}
            self.write(state.iteration, {f"{TRAIN}{name}": value for name, value in {**state.losses, **more}.items()})

    def after_epoch(self, state: TrainState) -> None:
        if not self._writes or state.metrics is None:
            return
        named = {kind: dict(state.named.get(kind) or {"value": values[0]}) for kind, values in state.metrics.items()}
        values = {f"{EVAL}{kind}/{name}": value for kind, own in named.items() for name, value in own.items() if value != -1}
        self.write((state.epoch + 1) * state.steps_per_epoch - 1, values)

    def after_train(self, state: TrainState) -> None:
        self._end()

    def on_stop(self, state: TrainState, position: object) -> None:
        self._end()

    def _end(self) -> None:
        if self._writes:
            self._writes = False
            self.close()


def comes_again(state: TrainState, step: int, name: str) -> bool:
    """Whether a run that starts at `state.start` writes the scalar of that step and name (once more).

    Where an epoch's steps are done and its evaluation is not, that has a step before the start, and is made up for.
    """
    start = state.start.epoch * state.steps_per_epoch + state.start.step
    return step >= start or (name.startswith(EVAL) and step == start - 1 and state.start.step > 0)


class TensorBoard(ScalarHook):
    """Writes TensorBoard's files, without needing TensorBoard; show them with `tensorboard --logdir folder`.

    A resumed run goes on where the checkpoint was: later scalars of the files are taken out first.

    Args:
        folder: of this run alone.
        log_iter: steps between scalars.
    """

    def __init__(self, folder: Path, log_iter: int) -> None:
        super().__init__(log_iter)
        self.folder = folder

    def open(self, state: TrainState) -> None:
        try:
            forget(self.folder, lambda step, name: comes_again(state, step, name))
            self.file = EventFile(self.folder)
            self.file.begin(state.start.epoch * state.steps_per_epoch + state.start.step)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def write(self, step: int, values: Mapping[str, float]) -> None:
        try:
            self.file.add(step, values)
        except OSError as error:
            raise _unwritable(self.folder, error) from error

    def close(self) -> None:
        self.file.close()


def _unwritable(folder: Path, error: OSError) -> UserError:
    return UserError(f"Cannot write {folder}: {error.strerror or error}. Choose another save_dir, or leave tensorboard out.")
