"""Evaluation during training."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from ppdet_ext import distributed

from .base import Hook

if TYPE_CHECKING:
    from ppdet_ext.training.trainer import Trainer


def is_snapshot(trainer: Trainer, snapshot_epoch: int) -> bool:
    """Whether this epoch is one at whose end ppdet saves: each `snapshot_epoch`-th, and the last."""
    return (trainer.epoch + 1) % snapshot_epoch == 0 or trainer.epoch == trainer.epochs - 1


def decisive(metrics: dict[str, list[float]]) -> tuple[str, float]:
    """What decides which weights are the best: the first metric's first number, of COCO's the mask AP where there is one."""
    kind = next(iter(metrics))
    kind = "segm" if kind == "bbox" and "segm" in metrics else kind
    return {"segm": "mask AP", "bbox": "box AP"}.get(kind, kind), metrics[kind][0]


class Evaluate(Hook):
    """Evaluates at the end of each snapshot epoch and leaves the result in `trainer.metrics`.

    All ranks evaluate the same model: the weights are equal, the batch-norm statistics are taken from rank 0. Stands before
    `SaveCheckpoints`, so that the checkpoint holds the result and a resumed run owes no evaluation.

    Args:
        evaluate: model -> numbers of each metric, as {"bbox": 12 numbers, "segm": 12 numbers}.
        snapshot_epoch: epochs between evaluations.
    """

    def __init__(self, evaluate: Callable[..., dict[str, list[float]]], snapshot_epoch: int) -> None:
        self.evaluate = evaluate
        self.snapshot_epoch = snapshot_epoch

    def after_epoch(self, trainer: Trainer) -> None:
        if is_snapshot(trainer, self.snapshot_epoch):
            with trainer.averaged_weights():
                distributed.share_buffers(trainer.bare_model)
                trainer.metrics = self.evaluate(trainer.bare_model)
