"""Files of `paddle.save`: `.pdparams`, `.pdopt` and `.pdema`, each one pickle."""

from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError

from .class_names import CLASSES, Classes, classes_in_entry
from .numpy_names import NAMES, set_state
from .opening import READABLE, Malformed, Refused, is_torch, naming, opened, shown
from .state_dict import NAME_TABLE, entries_of
from .unpickle import DataUnpickler, Source


def read_data_file(path: Path, with_names: bool = False) -> dict[str, Any]:
    """Content of a file written by `paddle.save(state_dict)`: name -> numpy array (or plain value).

    Nothing that the file names is imported or called. Numbers of a learning-rate schedule, names and the like are of the type
    they have to be.

    Args:
        with_names: keep paddle's table (under `NAME_TABLE`) of the names that optimizer states know the tensors by.

    Raises:
        UserError: the file is missing, truncated, not such a file, or wants anything but data.
    """
    entries, _ = _read(path)
    if not with_names:
        entries.pop(NAME_TABLE, None)
    return entries


def read_weights_file(path: Path) -> tuple[dict[str, np.ndarray], Classes | None]:
    """Tensors of a `.pdparams`, and what its classes are called if it says so.

    Raises:
        UserError: as `read_data_file`, or it holds anything but tensors.
    """
    entries, classes = _read(path)
    entries.pop(NAME_TABLE, None)
    wrong = [name for name, value in entries.items() if not isinstance(value, np.ndarray)]
    if wrong or not entries:
        held = ", ".join(map(shown, wrong[:3])) or "it is empty"
        raise UserError(f"Weights file {path} holds no table of tensors ({held}): nothing that can be read here {READABLE}.")
    return entries, classes


def _read(path: Path) -> tuple[dict[str, Any], Classes | None]:
    with naming(path), opened(path) as (stream, size, start):
        if is_torch(start):
            raise Refused("it is a zip archive or a checkpoint of torch; give the latter its suffix .pth")
        source = Source(stream, size)
        content = DataUnpickler(source, NAMES, set_state=set_state).load()
        if source.left:
            raise Malformed(f"{source.left} bytes follow its pickle")
        entries = entries_of(content)
        entries.get(NAME_TABLE, {}).pop(CLASSES, None)
        return entries, classes_in_entry(entries.pop(CLASSES)) if CLASSES in entries else None
