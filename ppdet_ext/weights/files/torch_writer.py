"""Writing a `.pth` that torch reads (`torch.load(..., weights_only=True)`), without torch: its zip format of 1.6 and later."""

import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

TOP = "archive"
ALIGNMENT = 64
_STORAGES = {"float32": "FloatStorage", "int64": "LongStorage"}


def _text(value: str) -> bytes:
    raw = value.encode("utf-8")
    return b"X" + struct.pack("<I", len(raw)) + raw


def _number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + struct.pack("<B", len(raw)) + raw


def _name(module: str, name: str) -> bytes:
    return b"c" + f"{module}\n{name}\n".encode()


def _plain(value: Any) -> bytes:
    """Pickle opcodes (protocol 2) of texts, whole numbers, and lists and dictionaries of them."""
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, int):
        return _number(value)
    if isinstance(value, (list, tuple)):
        return b"](" + b"".join(map(_plain, value)) + b"e"
    if isinstance(value, dict):
        return b"}(" + b"".join(_plain(item) for pair in value.items() for item in pair) + b"u"
    raise TypeError(f"{type(value).__name__} is not written into a checkpoint")


def _tensor(key: str, dtype: np.dtype, shape: tuple[int, ...]) -> bytes:
    """torch._utils._rebuild_tensor_v2(storage, 0, size, stride, False, OrderedDict()) in opcodes."""
    count = int(np.prod(shape, dtype=np.int64))
    stride = [int(np.prod(shape[axis + 1 :], dtype=np.int64)) for axis in range(len(shape))]
    storage = _text("storage") + _name("torch", _STORAGES[dtype.name]) + _text(key) + _text("cpu") + _number(count)
    sizes = b"".join(b"(" + b"".join(map(_number, numbers)) + b"t" for numbers in (shape, stride))
    arguments = b"((" + storage + b"tQ" + _number(0) + sizes + b"\x89" + _name("collections", "OrderedDict") + b")Rt"
    return _name("torch._utils", "_rebuild_tensor_v2") + arguments + b"R"


def _write(archive: zipfile.ZipFile, stream: BinaryIO, name: str, content: bytes | memoryview) -> None:
    """An entry whose bytes begin at a multiple of 64, so that torch can map the file into memory."""
    info = zipfile.ZipInfo(f"{TOP}/{name}")
    begin = stream.tell() + 30 + len(info.filename) + 4
    padding = -begin % ALIGNMENT
    info.extra = b"FB" + struct.pack("<H", padding) + b"Z" * padding
    info.file_size = len(content)
    archive.writestr(info, content)


def write_torch(path: Path, meta: dict[str, Any], tensors: Iterable[tuple[str, np.ndarray]]) -> None:
    """Write {"meta": meta, "state_dict": OrderedDict of tensors}.

    Args:
        path: file to write; the caller sees to atomicity.
        meta: texts, whole numbers, lists and dictionaries.
        tensors: names with float32 or int64 arrays, in order; taken one by one.

    Raises:
        TypeError: a value of another type.
        OSError: the file cannot be written.
    """
    opcodes = [
        b"\x80\x02}(" + _text("meta") + _plain(meta) + _text("state_dict") + _name("collections", "OrderedDict") + b")R("
    ]
    with path.open("wb") as stream, zipfile.ZipFile(stream, "w") as archive:
        for index, (name, array) in enumerate(tensors):
            if array.dtype.name not in _STORAGES:
                raise TypeError(f"{name} is {array.dtype}; checkpoints take float32 and int64")
            values = np.asarray(array, array.dtype.newbyteorder("<"), order="C")
            opcodes.append(_text(name) + _tensor(str(index), values.dtype, values.shape))
            _write(archive, stream, f"data/{index}", values.reshape(-1).view("|u1").data)
        _write(archive, stream, "data.pkl", b"".join(opcodes) + b"uu.")
        _write(archive, stream, "byteorder", b"little")
        _write(archive, stream, "version", b"3\n")
