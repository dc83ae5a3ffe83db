"""Averaged weights."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import paddle

from ppdet_ext.training.state import TrainState

from .base import Hook, Kind


class AverageWeights(Hook):
    """Exponential moving average of weights and batch-norm statistics (`use_ema`); evaluated and saved in their place.

    The average starts as a copy of the weights; in the n-th step it keeps min(decay, (1 + n) / (10 + n)) of itself
    (ppdet's 'threshold' warm-up), so that early weights are soon forgotten.

    Args:
        decay: share of the average that a step keeps, in [0, 1).
    """

    kind = Kind.AVERAGE

    def __init__(self, decay: float = 0.9998) -> None:
        self.decay = decay
        self.updates = 0
        self.values: dict[str, paddle.Tensor] = {}

    def start(self, weights: dict[str, paddle.Tensor]) -> None:
        """Begin with a copy of these weights."""
        self.values = {name: tensor.detach().clone() for name, tensor in weights.items()}

    def before_train(self, state: TrainState) -> None:
        if not self.values:
            self.start(state.model.state_dict())

    @paddle.no_grad()
    def after_step(self, state: TrainState) -> None:
        if not state.losses:
            return  # the step was skipped
        keep = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, tensor in state.model.state_dict().items():
            self.values[name] = self.values[name] * keep + tensor.detach() * (1 - keep)
        self.updates += 1

    @contextlib.contextmanager
    def applied(self, model: paddle.nn.Layer) -> Iterator[dict[str, paddle.Tensor]]:
        """Within the block the model has the averaged weights; gives its own, which come back afterwards."""
        own = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        for name, tensor in model.state_dict().items():
            # A generated name would be another one in each file that is saved.
            own[name].name = tensor.name
        model.set_state_dict(self.values)
        try:
            yield own
        finally:
            model.set_state_dict(own)

    def state_dict(self) -> dict[str, Any]:
        return {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.updates = int(state["updates"])
