"""Checkpoints that plain ppdet wrote: `<name>.pdparams` and `<name>.pdopt` (and `.pdema`), which nothing vouches for."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.weights.files import NAME_TABLE
from ppdet_ext.weights.files.paddle_file import read_data_file

from .folder import Checkpoint, Position

logger = logging.getLogger("ppdet_ext")


def read_pair(stem: Path) -> Checkpoint:
    """The checkpoint of ppdet's two files; what can be seen to be wrong with them is refused or logged.

    Both files have to be whole, and every optimizer state has to be of a tensor of the weights and of its
    shape. Which of two moments a file is from cannot be told from its content, only guessed from its date.

    Raises:
        UserError: damaged, or the two do not belong together.
    """
    params_file, optimizer_file, own_file = (stem.with_name(stem.name + end) for end in (".pdparams", ".pdopt", ".pdema"))
    params, state = read_data_file(params_file, with_names=True), read_data_file(optimizer_file)
    shapes = {name: np.shape(params[key]) for key, name in params.get(NAME_TABLE, {}).items() if key in params}
    strange = [key for key, value in state.items() if shapes and not _state_of(key, value, shapes)]
    try:
        epoch = int(state.get("last_epoch", 0))
    except (TypeError, ValueError):
        strange.append("last_epoch")
    if strange:
        raise UserError(
            f"{optimizer_file} does not belong to {params_file.name} ({', '.join(strange[:3])}); resume from another "
            f"checkpoint, or start a new run from the weights with -o pretrain_weights={stem}"
        )
    logger.warning("%s is ppdet's: no manifest vouches for it, the best AP so far is unknown and starts anew", stem)
    if optimizer_file.stat().st_mtime < params_file.stat().st_mtime:
        logger.warning("%s may be from an interrupted save (its .pdopt is older than its .pdparams)", stem)
    return Checkpoint(params_file, optimizer_file, own_file if own_file.is_file() else None, Position(epoch, 0))


def _state_of(key: str, value: Any, shapes: dict[str, tuple[int, ...]]) -> bool:
    """Whether an entry of an optimizer state goes with weights of these parameter names and shapes."""
    if key in ("LR_Scheduler", "master_weights", "last_epoch"):
        return True
    # '<parameter>_<slot>_<n>'; one parameter's name may begin another's.
    parts = key.split("_")
    owners = ("_".join(parts[:end]) for end in range(len(parts), 0, -1))
    owner = next((name for name in owners if name in shapes), None)
    # Slots such as Adam's beta powers are one number.
    return owner is not None and (np.size(value) == 1 or np.shape(value) == shapes[owner])
