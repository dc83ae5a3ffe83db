"""The names that a file of `paddle.save` may hold, and what stands for each: an array, its type, bytes, a container.

None of them is imported or called. An array is made here, of bytes whose number fits its shape and type.
"""

import math
from typing import Any

import numpy as np

from .pickle_reader import Known
from .refused import Refused, shown
from .stored_tensor import Malformed
from .torch_names import WORDS

TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
MAX_DIMENSIONS = 9  # as paddle
MAX_EXTENT = 1 << 40
_TYPE_STATE = (None, None, None, -1, -1, 0)


class Array:
    """An array of the file; numpy's pickles give it its values after it has been remembered."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values


class ArrayWords:
    """What the names of one file stand for.

    Args:
        size: bytes of the file, which its arrays together cannot exceed.
    """

    def __init__(self, size: int) -> None:
        self.left = size
        core = {"_reconstruct": self._reconstruct, "scalar": self._scalar}
        makers = {
            **{(f"numpy.{name}.multiarray", word): make for name in ("core", "_core") for word, make in core.items()},
            **{(f"numpy.{name}.numeric", "_frombuffer"): self._frombuffer for name in ("core", "_core")},
            ("numpy", "ndarray"): _ndarray,
            ("numpy", "dtype"): _dtype,
            ("builtins", "tuple"): _tuple,
            ("builtins", "bytes"): _bytes,
            ("_codecs", "encode"): _encode,
            ("collections", "OrderedDict"): WORDS["collections.OrderedDict"].make,
        }
        makers |= {("__builtin__", name): make for (module, name), make in makers.items() if module == "builtins"}
        self._words = {key: Known(".".join(key), make) for key, make in makers.items()}

    def find(self, module: str, name: str) -> Known:
        """What stands for a name. Refused, with the name, if it is not on the list."""
        word = self._words.get((module, name))
        if word is None:
            asked = ascii(f"{module}.{name}")[1:-1]
            raise Refused(f"it asks for {asked}, which is not data; refused, nothing of it was run")
        return word

    def build(self, target: Any, state: Any) -> None:
        """Give an array its values, or see that the state of a type is that of plain numbers.

        Raises:
            Malformed: anything else.
        """
        if isinstance(target, np.dtype):
            _check_type(target, state)
        elif type(target) is Array and target.values is None:
            if type(state) is not tuple or len(state) != 5 or type(state[0]) is not int or state[0] != 1:
                raise Malformed("an array is described by other values than numpy writes")
            target.values = self._numbers(state[4], state[2], state[1], state[3])
        else:
            raise Refused(f"it gives state to a {type(target).__name__}, which is not data; refused, nothing of it was run")

    def _reconstruct(self, args: tuple) -> Array:
        """_reconstruct(ndarray, (0,), b'b'): an array that is to be filled."""
        known = len(args) == 3 and type(args[0]) is Known and args[0].name == "numpy.ndarray"
        if not known or type(args[1]) is not tuple or args[1] != (0,) or args[2] not in (b"b", "b"):
            raise Refused("it makes an array in another way than numpy writes; refused, nothing of it was run")
        return Array()

    def _frombuffer(self, args: tuple) -> Array:
        """_frombuffer(bytes, dtype, shape, order): how numpy writes arrays in pickle's protocol 5."""
        if len(args) != 4 or type(args[3]) is not str or args[3] not in ("C", "F"):
            raise Malformed("an array is described by other values than numpy writes")
        return Array(self._numbers(args[0], args[1], args[2], args[3] == "F"))

    def _scalar(self, args: tuple) -> np.generic:
        """scalar(dtype, bytes): a number."""
        if len(args) != 2:
            raise Malformed("a number is described by other values than numpy writes")
        return self._numbers(args[1], args[0], ())[()]

    def _numbers(self, data: Any, dtype: Any, shape: Any, by_columns: Any = False) -> np.ndarray:
        """The array of these bytes, as numpy itself makes it of a pickle: it may be written to, long ones are not copied."""
        if not isinstance(dtype, np.dtype):
            raise Malformed("an array has no type")
        if type(shape) is not tuple or len(shape) > MAX_DIMENSIONS:
            raise Malformed("an array's shape is not a short tuple")
        if any(type(extent) is not int or not 0 <= extent <= MAX_EXTENT for extent in shape):
            raise Malformed("an array's shape holds something else than whole numbers from 0 to 2^40")
        raw = _encode((data, "latin1")) if type(data) is str else data  # Python 2 wrote bytes as text
        if type(raw) is not bytes:
            raise Refused(f"an array is made of a {type(data).__name__} in place of numbers; refused, nothing of it was run")
        if len(raw) != math.prod(shape) * dtype.itemsize:
            raise Malformed(f"an array of shape {list(shape)} and type {dtype} has {len(raw)} bytes")
        self.left -= len(raw)
        if self.left < 0:
            raise Malformed("its arrays have more bytes than the file")
        values = np.empty(0, dtype)
        values.__setstate__((1, shape, dtype, bool(by_columns), raw))
        return values.view("|u1") != 0 if dtype.kind == "b" else values


def _dtype(args: tuple) -> np.dtype:
    """dtype('f4', False, True)."""
    if len(args) != 3 or type(args[0]) is not str or any(type(flag) not in (bool, int) for flag in args[1:]):
        raise Refused("it describes a type of array in another way than numpy writes; refused, nothing of it was run")
    if args[0] not in TYPES:
        raise Refused(f"it holds an array of type {shown(args[0])}, which is not of numbers; refused, nothing of it was run")
    return np.dtype(args[0])


def _check_type(dtype: np.dtype, state: Any) -> None:
    """State of a type: version, byte order, and nothing of fields, shapes or metadata."""
    orders = ("|",) if dtype.itemsize == 1 else ("<", "=")
    plain = type(state) is tuple and len(state) == 8 and type(state[1]) is str
    if not plain or [type(item) for item in state[2:]] != [type(item) for item in _TYPE_STATE] or state[2:] != _TYPE_STATE:
        raise Refused("it describes a type of array that is not of plain numbers; refused, nothing of it was run")
    if type(state[0]) is not int or state[0] != 3 or state[1] not in orders:
        raise Malformed(f"an array is of {dtype} in byte order {shown(state[1])}; only little-endian numbers are read")


def _ndarray(args: tuple) -> Any:
    raise Refused("it calls numpy.ndarray, as numpy does not write it; refused, nothing of it was run")


def _tuple(args: tuple) -> tuple:
    """tuple((name, array)): how paddle writes a tensor inside a container."""
    if len(args) != 1 or type(args[0]) is not tuple:
        raise Malformed("a tuple is not made of a tuple")
    return args[0]


def _bytes(args: tuple) -> bytes:
    """bytes(): the empty ones, in pickle's protocol 2."""
    if args:
        raise Malformed("it makes bytes of something else than text")
    return b""


def _encode(args: tuple) -> Any:
    """encode(text, 'latin1'): bytes, in pickle's protocol 2."""
    latin1 = len(args) == 2 and type(args[1]) is str and args[1] in ("latin1", "latin-1")
    if not latin1 or type(args[0]) not in (str, bytes):
        raise Malformed("it encodes something else than bytes in Latin-1")
    try:
        return args[0].encode("latin-1") if type(args[0]) is str else args[0]
    except UnicodeEncodeError as error:
        raise Malformed("bytes in it are written as text beyond Latin-1") from error
