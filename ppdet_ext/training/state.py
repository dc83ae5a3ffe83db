"""What hooks see of a training: where it is, what its last step gave, and the weights that count."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import paddle

from ppdet_ext.checkpoint import Position

Weights = dict[str, paddle.Tensor]
# Metric -> its numbers, the one that counts first; metric -> name -> the same number.
Numbers = dict[str, list[float]]
Named = dict[str, dict[str, float]]


class WeightAverage(Protocol):
    """Something that keeps an average of the weights, which is evaluated and saved in their place."""

    def applied(self, model: paddle.nn.Layer) -> contextlib.AbstractContextManager[Weights | None]:
        """Within the block `model` has the averaged weights; gives its own, which come back afterwards."""


@dataclass
class TrainState:
    """The trainer keeps it up to date and hands it to hooks; of these only an evaluation changes it: `metrics`, `named`.

    Attributes:
        model: without its DataParallel wrapper.
        optimizer: of the model's weights.
        epochs: of the whole run.
        steps_per_epoch: the last step may have fewer batches than the others.
        batch_size: images of a step on one rank.
        saver: writes a checkpoint to (folder, position, whether weights must be finite); see `save_to`.
        rank: of this process.
        start: where this run goes on; (0, 0) if it starts anew.
        epoch: the present one, from 0.
        step: the present one within its epoch, from 0.
        losses: name -> mean over this step's batches and the ranks; empty if the step was skipped.
        learning_rate: of this step.
        batch_cost: seconds of this step, waiting for data included.
        data_cost: seconds of waiting for its data.
        metrics: numbers of this epoch's evaluation; None where there was none.
        named: the same by name, as far as they have names.
        average: keeps averaged weights, if the run has any.
    """

    model: paddle.nn.Layer
    optimizer: paddle.optimizer.Optimizer
    epochs: int
    steps_per_epoch: int
    batch_size: int
    saver: Callable[[Path, Position, bool], None]
    rank: int = 0
    start: Position = field(default=Position(0, 0))
    epoch: int = 0
    step: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    learning_rate: float = 0.0
    batch_cost: float = 0.0
    data_cost: float = 0.0
    metrics: Numbers | None = None
    named: Named = field(default_factory=dict)
    average: WeightAverage | None = None

    @property
    def iteration(self) -> int:
        """Number of the present step, counted over the whole run from 0."""
        return self.epoch * self.steps_per_epoch + self.step

    def is_snapshot(self, snapshot_epoch: int) -> bool:
        """Whether this epoch is one at whose end ppdet saves: each `snapshot_epoch`-th, and the last."""
        return (self.epoch + 1) % snapshot_epoch == 0 or self.epoch == self.epochs - 1

    def evaluated_weights(self) -> contextlib.AbstractContextManager[Weights | None]:
        """Within the block the model has the weights that are evaluated and saved.

        Gives the model's own weights where those are averaged ones, which it has back after the block; None elsewhere.
        """
        return self.average.applied(self.model) if self.average else contextlib.nullcontext()

    def save_to(self, folder: Path, position: Position | None = None, *, finite: bool = True) -> None:
        """Write a checkpoint that `-r folder` goes on from; to be called on one rank.

        Args:
            folder: gets the checkpoint; one that is there is replaced once the new one is complete.
            position: what is done; by default all before the present step.
            finite: demand that all weights are.

        Raises:
            DivergenceError: a weight is NaN or infinite, and must not be.
            UserError: the folder cannot be written.
        """
        self.saver(folder, Position(self.epoch, self.step) if position is None else position, finite)
