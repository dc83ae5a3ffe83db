"""Tensors as they lie in a torch file: views of storages, read when asked for; and the names that such a file may hold."""

import math
import re
import zlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from .opening import Malformed
from .unpickle import Inert, Name, ordered_dict, refuse_name, whole_numbers

# What checkpoints of mmdetection 2 and 3, torchvision and Lightning hold beside tensors. None of it is imported or called: a
# name of this list becomes an object without content.
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
    "lightning_fabric.utilities.data": ("AttributeDict",),
    "lightning.fabric.utilities.data": ("AttributeDict",),
    "pytorch_lightning.utilities.parsing": ("AttributeDict",),
    "pathlib": ("Path", "PosixPath", "PurePath", "PurePosixPath", "PureWindowsPath", "WindowsPath"),
    "torch": (
        "bfloat16", "bool", "device", "float16", "float32", "float64", "int16", "int32", "int64", "int8", "uint8",
    ),
}  # fmt: skip
HISTORY = "mmengine.logging.history_buffer.HistoryBuffer"
STATISTICS = ("min", "max", "current", "mean")
# Storage class of torch -> numpy's type of an element. bfloat16 is the upper half of a float32.
STORAGE_TYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
MAX_DIMENSIONS = 8


@dataclass
class Storage:
    """A run of equal elements in a file.

    Args:
        key: its name in the file.
        dtype: numpy's type string, or 'bfloat16'.
        count: elements, as the pickle declares.
        offset: byte of the file where it starts; known after the pickle has been read.
        crc: checksum of its bytes; None where the file has none.
    """

    key: str
    dtype: str
    count: int
    offset: int = -1
    crc: int | None = None
    checked: bool = field(default=False, repr=False)

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return 2 if self.dtype == "bfloat16" else np.dtype(self.dtype).itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.count * self.itemsize

    def check(self, stream: BinaryIO) -> None:
        """Compare the checksum, once. Malformed if it differs."""
        if self.checked or self.crc is None:
            return
        stream.seek(self.offset)
        if zlib.crc32(stream.read(self.nbytes)) != self.crc:
            raise Malformed(f"storage {self.key} does not have its checksum; copy the file again")
        self.checked = True


@dataclass(frozen=True)
class StoredTensor:
    """A tensor that lies in a storage; `of` checks what a file says about it."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]

    @classmethod
    def of(cls, storage: Any, offset: Any, shape: Any, stride: Any) -> "StoredTensor":
        """The tensor a file describes.

        Raises:
            Malformed: wrong types, negative or huge sizes, elements outside the storage, or more elements than it has
                (a view with stride 0 would take any amount of memory).
        """
        if type(storage) is not Storage:
            raise Malformed("a tensor is not built on a storage")
        named = {"offset": (offset,), "shape": shape, "stride": stride}
        (offset,), shape, stride = (
            whole_numbers(value, f"a tensor's {what}", MAX_DIMENSIONS, lists=True) for what, value in named.items()
        )
        if len(shape) != len(stride):
            raise Malformed(f"a tensor has {len(shape)} dimensions and {len(stride)} strides")
        count = math.prod(shape)
        last = offset + sum((size - 1) * step for size, step in zip(shape, stride))
        if count and (last >= storage.count or count > storage.count):
            raise Malformed(f"a tensor of shape {list(shape)} reaches beyond storage {storage.key} of {storage.count} elements")
        return cls(storage, offset, shape, stride)

    def read(self, stream: BinaryIO) -> np.ndarray:
        """Its elements as a new contiguous array; bfloat16 as float32. Malformed if the file is damaged."""
        storage = self.storage
        raw = np.dtype("<u2" if storage.dtype == "bfloat16" else storage.dtype)
        count = math.prod(self.shape)
        span = 1 + sum((size - 1) * step for size, step in zip(self.shape, self.stride)) if count else 0
        storage.check(stream)
        stream.seek(storage.offset + self.offset * raw.itemsize)
        flat = np.empty(span, "|u1" if raw.kind == "b" else raw)
        if stream.readinto(flat.view("|u1").data) != flat.nbytes:  # type: ignore[attr-defined]
            raise Malformed(f"storage {storage.key} is cut short")
        if raw.kind == "b":
            flat = flat != 0
        strides = tuple(step * raw.itemsize for step in self.stride)
        values = np.lib.stride_tricks.as_strided(flat, self.shape, strides) if count else np.empty(self.shape, flat.dtype)
        values = np.ascontiguousarray(values).reshape(self.shape)
        if storage.dtype == "bfloat16":
            values = np.left_shift(values, 16, dtype="<u4", out=np.empty(self.shape, "<u4")).view("<f4")
        return values.astype(values.dtype.newbyteorder("="), copy=False)


class StorageType:
    """A class of storages."""

    __slots__ = ("dtype",)

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


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
    return whole_numbers(args[0] if len(args) == 1 else None, "a torch.Size", MAX_DIMENSIONS, lists=True)


def _getattr(args: tuple) -> Inert:
    """How pickle writes the four statistics of mmengine's HistoryBuffer; getattr of anything else is refused."""
    known = len(args) == 2 and type(args[0]) is Name and args[0].name == HISTORY and args[1] in STATISTICS
    if not known:
        raise refuse_name("builtins.getattr")
    return Inert(f"{HISTORY}.{args[1]}")


_MAKERS = {
    "collections.OrderedDict": ordered_dict,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_parameter": _parameter,
    "torch.Size": _size,
    "builtins.getattr": _getattr,
}
NAMES: dict[str, Any] = {name: Name(name, make) for name, make in _MAKERS.items()}
NAMES |= {f"torch.{name}": StorageType(dtype) for name, dtype in STORAGE_TYPES.items()}
for _full in (f"{module}.{name}" for module, names in INERT.items() for name in names):
    NAMES[_full] = Name(_full, lambda args, name=_full: Inert(name))  # type: ignore[misc]


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

    def place_views(self) -> None:
        """Note where in the file each view begins, once its storage's place is known."""
        for view, root, start in self._views.values():
            view.offset = root.offset + start * root.itemsize
