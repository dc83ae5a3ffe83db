"""Losses that are not finite: every rank learns of them before a weight changes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppdet_ext import distributed
from ppdet_ext.errors import DivergenceError, UserError

from .state import TrainState

logger = logging.getLogger("ppdet_ext")
Tensors = dict[str, paddle.Tensor]


class LossGuard:
    """Runs the model forward, averages its losses over ranks, and stops or skips a step in which one is not finite.

    Args:
        skip: number of steps in a row that are skipped, weights and batch-norm statistics left as they were, before
            training stops.
        folder: where the state is saved for diagnosis when training stops; None saves nothing.

    Attributes:
        skipping: whether the present step is one that is skipped.
    """

    def __init__(self, skip: int = 0, folder: Path | None = None) -> None:
        self.skip = skip
        self.folder = folder
        self.in_a_row = self.skipped = 0
        self._sums: list[dict[str, float]] = []
        self._statistics: list[paddle.Tensor] = []
        self._before: list[paddle.Tensor] = []
        self.skipping = False

    def state_dict(self) -> dict[str, Any]:
        return {"in_a_row": self.in_a_row, "skipped": self.skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.in_a_row, self.skipped = int(state["in_a_row"]), int(state["skipped"])

    def start_step(self, model: paddle.nn.Layer) -> None:
        """Keep the batch-norm statistics of `model` (not wrapped), before the first batch of a step."""
        # The forward of a bad batch would leave NaN in the batch-norm statistics.
        self._statistics = self._statistics or list(distributed.running_statistics(model).values())
        self._before = [tensor.clone() for tensor in self._statistics]
        self._sums, self.skipping = [], False

    def forward(self, model: paddle.nn.Layer, batch: dict[str, Any], state: TrainState) -> Tensors | None:
        """Losses of a batch; None if they are not finite on any rank, or were not for an earlier batch of this step.

        Args:
            model: possibly wrapped by DataParallel.
            batch: what it takes; "names" are those of its images.
            state: says where in the training this is, and saves it when training stops.

        Raises:
            DivergenceError: they are not, and no more steps may be skipped. Weights are those before the step.
        """
        if self.skipping:
            return None
        cause = ""
        try:
            losses = model(batch)
            values = paddle.stack([value.detach().astype("float32").reshape([]) for value in losses.values()]).numpy()
            mean = distributed.sum_over_ranks(values.astype(np.float64)) / distributed.world()[1]
        except DivergenceError as error:
            # Where one rank's model raises this, all ranks' do (see modeling/detection/losses.py).
            losses, values, mean, cause = {}, np.array([]), np.array([np.nan]), str(error)
        if np.isfinite(mean).all():
            self._sums.append(dict(zip(losses, mean.tolist())))
            return losses
        self.skipping = True
        own = dict(zip(losses, values.tolist()))
        self._refuse(state, batch, cause or ", ".join(f"{k} = {v}" for k, v in own.items() if not np.isfinite(v)), own)
        return None

    def mean_losses(self) -> dict[str, float]:
        """Name -> mean over the step's batches, asked for after the last one; empty if the step was skipped."""
        if self.skipping:
            return {}
        self.in_a_row = 0
        return {name: sum(part[name] for part in self._sums) / len(self._sums) for name in self._sums[0]}

    def _refuse(self, state: TrainState, batch: dict[str, Any], what: str, losses: dict[str, float]) -> None:
        for tensor, before in zip(self._statistics, self._before):
            tensor.set_value(before)
        parts = distributed.gather(f"{what} {self._where(state, batch)}" if what else "")
        text = distributed.share("; ".join(part for part in parts if part) if parts else None)
        if self.in_a_row < self.skip:
            self.in_a_row += 1
            self.skipped += 1
            logger.warning("Step skipped (%d in a row, %d in all): %s", self.in_a_row, self.skipped, text)
            return
        saved = self._save(state, batch, losses, text)
        raise DivergenceError(
            f"{text}; training stopped.{saved} Look at the images, or lower the learning rate (-o LearningRate.base_lr=…), "
            "or clip gradients (-o OptimizerBuilder.clip_grad_by_norm=35), or skip single steps (-o skip_nonfinite=3)."
        )

    def _where(self, state: TrainState, batch: dict[str, Any]) -> str:
        rank = f" on rank {state.rank}" if distributed.world()[1] > 1 else ""
        return f"in epoch {state.epoch}, step {state.step}{rank}, images of this batch: {', '.join(map(str, batch['names']))}"

    def _save(self, state: TrainState, batch: dict[str, Any], losses: dict[str, float], text: str) -> str:
        """Keep the state before the step, and each rank's batch; says where."""
        if self.folder is None:
            return ""
        folder = self.folder / f"diverged_epoch_{state.epoch}_step_{state.step}"
        state.optimizer.clear_grad()
        distributed.phase("saving the state before the divergence")
        faults = []
        for save in (
            lambda: None if state.rank else state.save_to(folder, finite=False),
            lambda: distributed.barrier("saved the state before the divergence"),
            lambda: save_batch(folder, state.rank, batch, losses, text),
        ):
            try:
                save()
            except (OSError, UserError) as error:
                faults.append(f" {error}")
        saved = f" The state before this step and its batch are in {folder}; -r {folder} runs the step again."
        return "".join(faults) or saved


def save_batch(folder: Path, rank: int, batch: dict[str, Any], losses: dict[str, float], text: str) -> None:
    """Write a rank's batch as `batch_rank_<n>.npz`, and its images' names and losses as `.json`. OSError if impossible."""
    folder.mkdir(parents=True, exist_ok=True)
    arrays: dict[str, Any] = {
        key: np.asarray(value) for key, value in batch.items() if isinstance(value, (paddle.Tensor, np.ndarray))
    }
    np.savez(folder / f"batch_rank_{rank}.npz", **arrays)
    record = {"message": text, "losses": losses, "images": [str(name) for name in batch["names"]]}
    (folder / f"batch_rank_{rank}.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
