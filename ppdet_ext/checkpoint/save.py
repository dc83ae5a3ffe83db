"""Writing a checkpoint, and copies of its weights for plain ppdet."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import paddle

from ppdet_ext.errors import DivergenceError
from ppdet_ext.files.atomic import new_folder, write_atomic
from ppdet_ext.files.manifest import write_manifest
from ppdet_ext.weights.load import with_classes

from .compatibility import RunFingerprint
from .folder import CONFIG, OPTIMIZER, OWN_WEIGHTS, STATE, WEIGHTS, Position


def save_checkpoint(
    folder: Path,
    model: paddle.nn.Layer,
    optimizer: paddle.optimizer.Optimizer,
    position: Position,
    state: dict[str, Any],
    fingerprint: RunFingerprint,
    own: dict[str, paddle.Tensor] | None = None,
    *,
    finite: bool = True,
) -> None:
    """Write a checkpoint to `folder`: completely, or not at all.

    Args:
        folder: its place; see `folder.py` for what is in it.
        model: its attribute `classes` (`Classes`), if it has one, goes with its weights.
        position: how far the run has come.
        state: JSON-able state of the trainer.
        fingerprint: of the run.
        own: where the model has averaged weights now: its own ones. ppdet files those under `.pdema`.
        finite: demand that all weights are.

    Raises:
        DivergenceError: a weight is NaN or infinite, and must not be; nothing is written.
        UserError: not writable, or the disk is full; nothing is left of it, other checkpoints are untouched.
    """
    weights = model.state_dict()
    if finite:
        _demand_finite(own or weights)
    with new_folder(folder) as aside:
        paddle.save(with_classes(weights, getattr(model, "classes", None)), str(aside / WEIGHTS))
        # ppdet's last_epoch is the number of epochs done.
        paddle.save({**optimizer.state_dict(), "last_epoch": position.epoch}, str(aside / OPTIMIZER))
        if own is not None:
            paddle.save(own, str(aside / OWN_WEIGHTS))
        content = {"position": position._asdict(), "trainer": state, "circumstances": fingerprint.as_dict()}
        (aside / STATE).write_text(json.dumps(content, indent=1), encoding="utf-8")
        (aside / CONFIG).write_text(fingerprint.config_text, encoding="utf-8")
        write_manifest(aside, fingerprint.facts)


def _demand_finite(weights: dict[str, paddle.Tensor]) -> None:
    """A checkpoint with NaN in it would push the last good one out."""
    sums = paddle.stack([tensor.astype("float32").sum() for tensor in weights.values()])
    for name, total in zip(weights, sums.tolist()):
        if total != total or total in (float("inf"), float("-inf")):
            values = weights[name].astype("float32")
            if not bool(paddle.isfinite(values).all()):
                raise DivergenceError(
                    f"Weight {name} is NaN or infinite; no checkpoint was written, the earlier ones are kept."
                )


def export_weights(checkpoint: Path, target: Path) -> None:
    """Copy the weights of a checkpoint's folder to `target` (`.pdparams`, for plain ppdet and `-o weights=`), atomically.

    A copy and no link: what a user does to this file must not damage the checkpoint. UserError when it cannot be written.
    """
    write_atomic(target, lambda aside: shutil.copyfile(checkpoint / WEIGHTS, aside))
