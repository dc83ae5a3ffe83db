"""Keeping ranks together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ppdet_ext.engine.distributed import wait_for_rank_0

from .base import Hook

if TYPE_CHECKING:
    from ppdet_ext.engine.trainer import Trainer


class WaitForRank0(Hook):
    """At the end of each epoch the other ranks wait until rank 0, which evaluates and saves, is through; stands last."""

    def after_epoch(self, trainer: Trainer) -> None:
        wait_for_rank_0(f"end of epoch {trainer.epoch}")
