"""Evaluation during training."""

from __future__ import annotations

from collections.abc import Callable

import paddle

from ppdet_ext import distributed
from ppdet_ext.training.state import Named, Numbers, TrainState

from .base import Hook, Kind


def decisive(metrics: Numbers) -> tuple[str, float]:
    """What decides which weights are the best: the first metric's first number, of COCO's the mask AP where there is one."""
    kind = next(iter(metrics))
    kind = "segm" if kind == "bbox" and "segm" in metrics else kind
    return {"segm": "mask AP", "bbox": "box AP"}.get(kind, kind), metrics[kind][0]


class Evaluate(Hook):
    """Evaluates at the end of each snapshot epoch and leaves the result in `state.metrics` and `state.named`.

    All ranks evaluate the same model: the weights are equal, the batch-norm statistics are taken from rank 0. A checkpoint
    is saved after it, so that it holds the result and a resumed run owes no evaluation.

    Args:
        evaluate: model -> numbers of each metric, as {"bbox": 12 numbers, "segm": 12 numbers}, and the same by name.
        snapshot_epoch: epochs between evaluations.
    """

    kind = Kind.EVALUATE

    def __init__(self, evaluate: Callable[[paddle.nn.Layer], tuple[Numbers, Named]], snapshot_epoch: int) -> None:
        self.evaluate = evaluate
        self.snapshot_epoch = snapshot_epoch

    def after_epoch(self, state: TrainState) -> None:
        if state.is_snapshot(self.snapshot_epoch):
            with state.evaluated_weights():
                distributed.share_buffers(state.model)
                state.metrics, state.named = self.evaluate(state.model)
