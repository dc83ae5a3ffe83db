"""The names a torch file may hold, and what stands for each: a tensor, a container, or an inert object."""

import re
from collections import OrderedDict
from typing import Any

from .pickle_reader import Inert, Known, check_key
from .stored_tensor import MAX_DIMENSIONS, STORAGE_TYPES, Malformed, Storage, StoredTensor

# What checkpoints of mmdetection 2 and 3 and of torchvision hold beside tensors. None of it is imported or called: a name of
# this list becomes an object without content.
INERT = {
    "argparse": ("Namespace",),
    "addict.addict": ("Dict",),
    "builtins": ("bool", "bytearray", "bytes", "complex", "dict", "float", "frozenset", "int", "list", "set", "slice", "str"),
    "_codecs": ("encode",),
    "collections": ("Counter", "defaultdict", "deque"),
    "datetime": ("date", "datetime", "time", "timedelta", "timezone"),
    "mmcv.utils.config": ("Config", "ConfigDict"),
    "mmengine.config.config": ("Config", "ConfigDict"),
    "mmengine.logging.history_buffer": ("HistoryBuffer",),
    "numpy": ("bool_", "dtype", "float16", "float32", "float64", "int32", "int64", "ndarray", "uint8"),
    "numpy.core.multiarray": ("_reconstruct", "scalar"),
    "numpy._core.multiarray": ("_reconstruct", "scalar"),
    "numpy.core.numeric": ("_frombuffer",),
    "numpy._core.numeric": ("_frombuffer",),
    "pathlib": ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "torch": (
        "bfloat16", "bool", "device", "float16", "float32", "float64", "int16", "int32", "int64", "int8", "uint8",
    ),
}  # fmt: skip
HISTORY = "mmengine.logging.history_buffer.HistoryBuffer"
STATISTICS = ("min", "max", "current", "mean")
_PYTHON_2 = {"__builtin__": "builtins"}


class StorageType:
    """A class of storages."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


def _ordered_dict(args: tuple) -> OrderedDict:
    if not args:
        return OrderedDict()
    pairs = args[0] if len(args) == 1 and type(args[0]) in (list, tuple) else [None]
    if any(type(pair) not in (list, tuple) or len(pair) != 2 for pair in pairs):
        raise Malformed("an OrderedDict is not made of pairs")
    made: OrderedDict = OrderedDict()
    for key, value in pairs:
        made[check_key(key, made)] = value
    return made


def _tensor(args: tuple) -> StoredTensor:
    """_rebuild_tensor_v2(storage, offset, size, stride, requires_grad, hooks[, metadata]), or the first four alone."""
    if len(args) not in (4, 6, 7) or (len(args) == 7 and args[6]):
        raise Malformed("a tensor is described by other arguments than torch writes")
    return StoredTensor.of(*args[:4])


def _parameter(args: tuple) -> StoredTensor:
    """_rebuild_parameter(data, requires_grad, hooks)."""
    if not args or type(args[0]) is not StoredTensor:
        raise Malformed("a parameter is not made of a tensor")
    return args[0]


def _size(args: tuple) -> tuple:
    if len(args) != 1 or type(args[0]) not in (tuple, list) or len(args[0]) > MAX_DIMENSIONS:
        raise Malformed("a torch.Size is not made of a short tuple")
    return tuple(args[0])


def _getattr(args: tuple) -> Inert:
    """How pickle writes the four statistics of mmengine's HistoryBuffer; getattr of anything else is refused."""
    known = len(args) == 2 and type(args[0]) is Known and args[0].name == HISTORY and args[1] in STATISTICS
    if not known:
        raise Malformed("it asks for builtins.getattr, which is not data; refused, nothing of it was run")
    return Inert(f"{HISTORY}.{args[1]}")


def _vocabulary() -> dict[str, Any]:
    makers = {
        "collections.OrderedDict": _ordered_dict,
        "torch._utils._rebuild_tensor": _tensor,
        "torch._utils._rebuild_tensor_v2": _tensor,
        "torch._utils._rebuild_parameter": _parameter,
        "torch.Size": _size,
        "builtins.getattr": _getattr,
    }
    words: dict[str, Any] = {name: Known(name, make) for name, make in makers.items()}
    words |= {f"torch.{name}": StorageType(dtype) for name, dtype in STORAGE_TYPES.items()}
    for module, names in INERT.items():
        for name in names:
            words[f"{module}.{name}"] = Known(f"{module}.{name}", lambda args, full=f"{module}.{name}": Inert(full))
    return words


WORDS = _vocabulary()


def find(module: str, name: str) -> Any:
    """What stands for a name. Malformed, with the name, if it is not on the list."""
    word = WORDS.get(f"{_PYTHON_2.get(module, module)}.{name}")
    if word is None:
        asked = ascii(f"{module}.{name}")[1:-1]
        raise Malformed(f"it asks for {asked}, which is not data; refused, nothing of it was run")
    return word


def _is_key(value: Any) -> bool:
    return type(value) is str and re.fullmatch(r"[0-9A-Za-z_]{1,40}", value) is not None


class Storages:
    """The storages that a file's pickle names, by key, and the views of them that torch wrote before 0.4."""

    def __init__(self) -> None:
        self.found: dict[str, Storage] = {}
        self._views: dict[tuple[str, str], tuple[Storage, Storage, int]] = {}

    def persistent(self, value: Any) -> Storage:
        """The storage of a persistent id ('storage', class, key, device, count[, view]).

        Raises:
            Malformed: another kind of id, or two ids that differ about the same storage.
        """
        if type(value) is not tuple or len(value) not in (5, 6) or value[0] != "storage":
            raise Malformed("it refers to something else than storages outside its pickle")
        _, kind, key, _, count, *view = value
        if type(kind) is not StorageType or not _is_key(key) or type(count) is not int or count < 0:
            raise Malformed("a storage is described by other values than torch writes")
        storage = self.found.setdefault(key, Storage(key, kind.dtype, count))
        if (storage.dtype, storage.count) != (kind.dtype, count):
            raise Malformed(f"storage {key} is described in two ways")
        return storage if not view or view[0] is None else self._view(storage, view[0])

    def _view(self, root: Storage, view: Any) -> Storage:
        if type(view) is not tuple or [type(item) for item in view] != [str, int, int] or not _is_key(view[0]):
            raise Malformed(f"a view of storage {root.key} is described by other values than torch writes")
        key, start, count = view
        if start < 0 or count < 0 or start + count > root.count:
            raise Malformed(f"a view of storage {root.key} reaches beyond its {root.count} elements")
        made = (Storage(f"{root.key}/{key}", root.dtype, count), root, start)
        return self._views.setdefault((root.key, key), made)[0]

    def place(self, offsets: dict[str, int], crcs: dict[str, int]) -> None:
        """Note where in the file each storage begins, and its checksum if it has one."""
        for key, storage in self.found.items():
            storage.offset, storage.crc = offsets[key], crcs.get(key)
        for view, root, start in self._views.values():
            view.offset = root.offset + start * root.itemsize
