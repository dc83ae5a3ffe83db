"""Putting a checkpoint back into model and optimizer."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import paddle

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files.class_names import Classes
from ppdet_ext.weights.files.paddle_file import read_data_file
from ppdet_ext.weights.find import stored_classes
from ppdet_ext.weights.load import load_weights

from .folder import Checkpoint


def load_checkpoint(
    checkpoint: Checkpoint, model: paddle.nn.Layer, optimizer: paddle.optimizer.Optimizer
) -> dict[str, paddle.Tensor] | None:
    """Put the model's own weights, optimizer state and learning-rate schedule back; gives the averaged weights, if it has any.

    Raises:
        UserError: damaged files, another architecture, or an optimizer state of other tensors; nothing is half-loaded.
    """
    content = read_data_file(checkpoint.optimizer)
    content.pop("last_epoch", None)
    strange = foreign_slots(content, optimizer)
    if strange or "LR_Scheduler" not in content:
        raise UserError(
            f"Optimizer state {checkpoint.optimizer} does not belong to this model and optimizer "
            f"({', '.join(strange[:3]) or 'it has no LR_Scheduler'}). To start a new run from its weights "
            f"use -o pretrain_weights={checkpoint.weights.with_suffix('')}"
        )
    _demand_order(model, checkpoint.weights)
    load_weights(model, checkpoint.weights)
    averaged = None
    if own := checkpoint.own_weights:
        averaged = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        load_weights(model, own, own.suffix)
    optimizer.set_state_dict({key: _to_tensors(value) for key, value in content.items()})
    return averaged


def _demand_order(model: paddle.nn.Layer, weights: Path) -> None:
    """UserError where the classes of the data stand in another order than in the checkpoint, whatever changes are allowed."""
    now: Classes | None = getattr(model, "classes", None)
    before = stored_classes(weights) if now else None
    if now and before and now.names != before.names and sorted(now.names) == sorted(before.names):
        raise UserError(
            f"Classes in another order. {weights}: {', '.join(before.names)}; TrainDataset: {', '.join(now.names)}. A run goes "
            "on with the same order; a new run from these weights matches them by name: "
            f"-o pretrain_weights={weights.with_suffix('')}"
        )


def foreign_slots(content: dict[str, Any], optimizer: paddle.optimizer.Optimizer) -> list[str]:
    """Entries of an optimizer state that are no '<parameter>_<slot>_<n>' of this optimizer; paddle would ignore them.

    A parameter without an entry is in order: slots come into being with its first gradient.
    """
    groups = [group["params"] if isinstance(group, dict) else [group] for group in optimizer._parameter_list]
    names = {parameter.name for group in groups for parameter in group}
    slots = [getattr(optimizer, name) for name in dir(optimizer) if name.endswith("_acc_str")]
    pattern = re.compile(rf"(.+?)(_fp32_master_\d+)?_({'|'.join(map(re.escape, slots)) or '(?!)'})_\d+")
    known = ["LR_Scheduler", "master_weights", *(["LookAhead"] if getattr(optimizer, "look_ahead", None) else [])]
    entries = [key for key in content if key not in known]
    return [key for key in entries if not (match := pattern.fullmatch(key)) or match[1] not in names]


def _to_tensors(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_tensors(item) for key, item in value.items()}
    return paddle.to_tensor(value) if isinstance(value, np.ndarray) else value
