"""What a hook is, and when its methods are called."""

from __future__ import annotations

import enum
from typing import Any

from ppdet_ext.checkpoint import Position
from ppdet_ext.training.state import TrainState


class Kind(enum.IntEnum):
    """What a hook is for. At each moment the kinds are called in this order, whatever the order they were given in."""

    AVERAGE = 0
    """Changes which weights count."""
    EVALUATE = 1
    """Leaves numbers in `TrainState.metrics`."""
    RECORD = 2
    """Writes down what happened."""
    SAVE = 3
    """Writes checkpoints, which hold what the others have done."""


class Hook:
    """Something that happens around the steps of a training; subclass it and pass it to `train(hooks=…)`.

    The loop, with each moment where it stands::

        hooks.before_train(state)                       # after a checkpoint, if any, has been loaded
        for epoch in range(start.epoch, epochs):
            if any rank was told to stop: hooks.on_stop(state, position), end
            hooks.before_epoch(state)
            for batches in the loader's, `accumulation` at a time:
                seed everything random with (seed, epoch, step, rank)
                for batch in batches:
                    losses = model(batch)               # dict of scalars, "loss" is their sum
                    a loss is not finite on some rank: skip the step, or end with DivergenceError
                    (losses["loss"] / len(batches)).backward()
                optimizer.step(); schedule.step(); optimizer.clear_grad()
                hooks.after_step(state)
                if any rank was told to stop: hooks.on_stop(state, position), end
            seed everything random with (seed, epoch, steps_per_epoch, rank)
            hooks.after_epoch(state)                    # evaluate, record, save
        hooks.after_train(state)

    At each moment hooks are called by `kind`, those of one kind in the order they were given; those of each rank on it
    (`state.rank`). What they may read is in `TrainState`. A hook that remembers anything which changes later results
    gives it in `state_dict` (JSON-able) and takes it back in `load_state_dict`, so that a resumed run continues as if it
    had never stopped; it is filed under the class's name.

    Attributes:
        kind: when it is called among the others.
    """

    kind = Kind.RECORD

    def before_train(self, state: TrainState) -> None:
        """Begin; weights, optimizer and this hook's state are those to go on from."""

    def before_epoch(self, state: TrainState) -> None:
        """Prepare for an epoch, before its first batch is asked for."""

    def after_step(self, state: TrainState) -> None:
        """Take note of a step; `state.losses` holds its values."""

    def after_epoch(self, state: TrainState) -> None:
        """Do what belongs to the end of an epoch; `state.metrics` is there if it was evaluated."""

    def after_train(self, state: TrainState) -> None:
        """Finish, at the regular end."""

    def before_save(self, state: TrainState) -> None:
        """Bring to the disk what a checkpoint presupposes, which is about to be written; on the rank that writes it."""

    def on_stop(self, state: TrainState, position: Position) -> None:
        """Keep what is needed to go on: the run ends early, with the steps before `position` done."""

    def state_dict(self) -> dict[str, Any]:
        """State for the checkpoint; empty if there is none."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
