"""Tensors as they lie in a torch file: views of storages, read when asked for, never beyond their storage."""

import math
import zlib
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

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
MAX_EXTENT = 1 << 40
BLOCK = 1 << 20


class Malformed(Exception):
    """What a file asks for or holds cannot be; the text says what."""


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
        left, crc = self.nbytes, 0
        while left:
            block = stream.read(min(left, BLOCK))
            if not block:
                raise Malformed(f"storage {self.key} is cut short")
            crc, left = zlib.crc32(block, crc), left - len(block)
        if crc != self.crc:
            raise Malformed(f"storage {self.key} does not have its checksum; copy the file again")
        self.checked = True


def _whole_numbers(value: Any, what: str) -> tuple[int, ...]:
    if type(value) not in (tuple, list) or len(value) > MAX_DIMENSIONS:
        raise Malformed(f"a tensor's {what} is not a short tuple")
    if any(type(item) is not int or not 0 <= item <= MAX_EXTENT for item in value):
        raise Malformed(f"a tensor's {what} holds something else than whole numbers from 0 to 2^40")
    return tuple(value)


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
        (offset,) = _whole_numbers((offset,), "offset")
        shape, stride = _whole_numbers(shape, "shape"), _whole_numbers(stride, "stride")
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
        if stream.readinto(flat.view("|u1").data) != flat.nbytes:
            raise Malformed(f"storage {storage.key} is cut short")
        if raw.kind == "b":
            flat = flat != 0
        strides = tuple(step * raw.itemsize for step in self.stride)
        values = np.lib.stride_tricks.as_strided(flat, self.shape, strides) if count else np.empty(self.shape, flat.dtype)
        values = np.ascontiguousarray(values).reshape(self.shape)
        if storage.dtype == "bfloat16":
            values = np.left_shift(values, 16, dtype="<u4", out=np.empty(self.shape, "<u4")).view("<f4")
        return values.astype(values.dtype.newbyteorder("="), copy=False)
