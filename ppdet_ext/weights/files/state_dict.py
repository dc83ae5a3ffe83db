"""What the entries of a file may be: arrays, numbers, text and containers of these; some names have a fixed meaning."""

import math
from collections import OrderedDict
from typing import Any

import numpy as np

from .numpy_names import Array
from .opening import Refused, all_of, check_name, shown
from .unpickle import Inert, Name

NAME_TABLE = "StructuredToParameterName@@"
PARTS_TABLE = "UnpackBigParamInfor@@"
SCHEDULE, MASTERS, EPOCH = "LR_Scheduler", "master_weights", "last_epoch"
MAX_VALUES = 500_000
MAX_DEPTH = 8
LARGEST = 1 << 53
PLAIN = (str, int, float, bool, type(None))


def entries_of(content: Any) -> dict[str, Any]:
    """Name -> array or plain value, of what a `DataUnpickler` has read, the parts of big tensors joined.

    Raises:
        Refused: no such table, or an entry that cannot be one.
    """
    if type(content) not in (dict, OrderedDict):
        raise Refused(f"it holds a {_kind(content)}; expected a table of named tensors")
    entries = _Plain().of(content)
    if PARTS_TABLE in entries:
        _join(entries, entries.pop(PARTS_TABLE))
    _check_names(entries.get(NAME_TABLE, {}))
    if SCHEDULE in entries:
        _check_schedule(entries[SCHEDULE], SCHEDULE)
    masters = entries.get(MASTERS, {})
    if not isinstance(masters, dict) or not all(isinstance(value, np.ndarray) for value in masters.values()):
        raise Refused(f"{MASTERS} is no table of tensors")
    if EPOCH in entries:
        _check_number(entries[EPOCH], EPOCH, whole=True)
    return entries


def _kind(value: Any) -> str:
    if isinstance(value, (Inert, Name)):
        return value.name
    return type(value).__name__.lower()


class _Plain:
    """Takes values over, each as often as it is referred to; counted, for references may multiply without end."""

    def __init__(self) -> None:
        self.left = MAX_VALUES

    def of(self, value: Any, depth: int = 0) -> Any:
        """The value with numpy arrays in place of `Array`; paddle's (name, array) becomes the array."""
        self.left -= 1
        if self.left < 0 or depth > MAX_DEPTH:
            limit = f"{MAX_VALUES} values" if self.left < 0 else f"{MAX_DEPTH} containers inside each other"
            raise Refused(f"it holds more than {limit}")
        kind = type(value)
        if kind in PLAIN or isinstance(value, np.generic):
            return value
        if kind is Array and value.values is not None:
            return value.values
        if kind is tuple and len(value) == 2 and type(value[0]) is str and type(value[1]) is Array:
            return self.of(value[1], depth)
        if kind in (list, tuple):
            return kind([self.of(item, depth + 1) for item in value])
        if kind in (dict, OrderedDict):
            return {check_name(key): self.of(item, depth + 1) for key, item in value.items()}
        raise Refused(f"it holds a {'array without values' if kind is Array else _kind(value)}, which is not data")


def _join(entries: dict[str, Any], table: Any) -> None:
    """Put tensors together that paddle has cut because protocols 2 and 3 have no objects of 4 GiB."""
    if not isinstance(table, dict):
        raise Refused(f"{PARTS_TABLE} is no table")
    for name, description in table.items():
        described: dict[str, Any] = description if isinstance(description, dict) else {}
        slices, shape = described.get("slices", ()), described.get("OriginShape", ())
        # Each part is taken out: one that is named twice could make any amount of memory of a small file.
        parts = [entries.pop(part, None) for part in slices] if all_of(slices, str) else []
        sound = parts and all(isinstance(part, np.ndarray) and part.ndim == 1 for part in parts)
        if not sound or name in entries or len({part.dtype for part in parts}) > 1 or not all_of(shape, int):
            raise Refused(f"the parts of tensor {shown(name)} are missing or are no parts")
        if sum(part.size for part in parts) != math.prod(shape) or min(shape, default=0) < 0:
            raise Refused(f"the parts of tensor {shown(name)} do not have the number of elements of its shape")
        entries[name] = np.concatenate(parts).reshape(shape)


def _check_names(table: Any) -> None:
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise Refused(f"{NAME_TABLE} is no table of names")


def _check_schedule(value: Any, path: str) -> None:
    """State of a learning-rate schedule: numbers by name, and the same of a schedule inside it."""
    if not isinstance(value, dict):
        raise Refused(f"{path} is {shown(value)}; expected a table of numbers")
    for key, item in value.items():
        here = f"{path}.{key}"
        if isinstance(item, dict):
            _check_schedule(item, here)
        elif not (key == "best" and item is None):  # of ReduceOnPlateau, before its first metric
            _check_number(item, here, whole=key == EPOCH)


def _check_number(value: Any, path: str, whole: bool = False) -> None:
    wanted = "a whole number" if whole else "a finite number"
    single: Any = value.reshape(-1)[0] if isinstance(value, np.ndarray) and value.size == 1 else value
    kinds: Any = (int, np.integer) if whole else (int, float, np.integer, np.floating)
    if isinstance(single, (bool, np.bool_)) or not isinstance(single, kinds) or not abs(single) <= LARGEST:
        raise Refused(f"{path} is {shown(value)}; expected {wanted}")
