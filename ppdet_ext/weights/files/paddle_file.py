"""Files of `paddle.save`: `.pdparams`, `.pdopt` and `.pdema`, each one pickle."""

from pathlib import Path
from typing import Any

from .numpy_names import NAMES, set_state
from .opening import Malformed, Refused, is_torch, naming, opened
from .state_dict import CLASSES, NAME_TABLE, entries_of
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
    entries = _read(path)
    entries.pop(CLASSES, None)
    if not with_names:
        entries.pop(NAME_TABLE, None)
    return entries


def _read(path: Path) -> dict[str, Any]:
    with naming(path), opened(path) as (stream, size, start):
        if is_torch(start):
            raise Refused("it is a zip archive or a checkpoint of torch; give the latter its suffix .pth")
        source = Source(stream, size)
        content = DataUnpickler(source, NAMES, set_state=set_state).load()
        if source.left:
            raise Malformed(f"{source.left} bytes follow its pickle")
        return entries_of(content)
