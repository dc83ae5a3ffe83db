"""What a hook is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ppdet_ext.checkpoint import Position
    from ppdet_ext.training.trainer import Trainer


class Hook:
    """Something that happens around the steps of `Trainer.run`; see there for when each method is called.

    A hook that remembers anything which changes later results gives it in `state_dict` (JSON-able) and takes it back
    in `load_state_dict`, so that a resumed run continues as if it had never stopped.
    """

    def before_train(self, trainer: Trainer) -> None:
        """Once, after a checkpoint (if any) has been loaded."""

    def before_epoch(self, trainer: Trainer) -> None:
        """Before the first batch of each epoch is asked for."""

    def after_step(self, trainer: Trainer) -> None:
        """After the optimizer's step; `trainer.losses` holds this step's values."""

    def after_epoch(self, trainer: Trainer) -> None:
        """After the last step of each epoch."""

    def after_train(self, trainer: Trainer) -> None:
        """Once, at the regular end."""

    def before_save(self, trainer: Trainer) -> None:
        """A checkpoint is about to be written: what it presupposes on the disk has to be there."""

    def on_stop(self, trainer: Trainer, position: Position) -> None:
        """The run ends early, with the steps before `position` done."""

    def on_divergence(self, trainer: Trainer, folder: Path) -> None:
        """The run ends since a loss is not finite; what helps to find out why goes to `folder`."""

    def state_dict(self) -> dict[str, Any]:
        """State for the checkpoint; empty if there is none."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what `state_dict` gave."""
