"""The names that a file of `paddle.save` may hold, and what stands for each: an array, its type, a number, a container."""

import math
from typing import Any

import numpy as np

from .opening import Malformed, Refused, shown
from .unpickle import Name, ordered_dict, whole_numbers

TYPES = ("b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")
MAX_DIMENSIONS = 9  # as paddle
_TYPE_STATE = (None, None, None, -1, -1, 0)
_ODD_ARRAY = "an array is described by other values than numpy writes"


class Array:
    """An array of the file; numpy's pickles give it its values after it has been remembered."""

    __slots__ = ("values",)

    def __init__(self, values: np.ndarray | None = None) -> None:
        self.values = values


def set_state(target: Any, state: Any) -> None:
    """Give an array its values, or see that the state of a type is that of plain numbers. Malformed for anything else."""
    if isinstance(target, np.dtype):
        _check_type(target, state)
    elif type(target) is Array and target.values is None:
        if type(state) is not tuple or len(state) != 5 or type(state[0]) is not int or state[0] != 1:
            raise Malformed(_ODD_ARRAY)
        target.values = _numbers(state[4], state[2], state[1], state[3])
    else:
        raise Refused(f"it gives state to a {type(target).__name__}, which is not data; refused, nothing of it was run")


def _check_type(dtype: np.dtype, state: Any) -> None:
    """State of a type: version, byte order, and nothing of fields, shapes or metadata."""
    kinds = [type(item) for item in state[2:]] if type(state) is tuple and len(state) == 8 else []
    if kinds != [type(item) for item in _TYPE_STATE] or state[2:] != _TYPE_STATE:
        raise Refused("it describes a type of array that is not of plain numbers; refused, nothing of it was run")
    if type(state[0]) is not int or state[0] != 3 or state[1] not in (("|",) if dtype.itemsize == 1 else ("<", "=")):
        raise Malformed(f"an array is of {dtype} in byte order {shown(state[1])}; only little-endian numbers are read")


def _numbers(data: Any, dtype: Any, shape: Any, by_columns: Any = False) -> np.ndarray:
    """The array of these bytes, as numpy itself makes it of a pickle: it may be written to, long ones are not copied."""
    if not isinstance(dtype, np.dtype):
        raise Malformed("an array has no type")
    whole_numbers(shape, "an array's shape", MAX_DIMENSIONS)
    raw = _encode((data, "latin1")) if type(data) is str else data  # Python 2 wrote bytes as text
    if type(raw) is not bytes:
        raise Refused(f"an array is made of a {type(data).__name__} in place of numbers; refused, nothing of it was run")
    if len(raw) != math.prod(shape) * dtype.itemsize:
        raise Malformed(f"an array of shape {list(shape)} and type {dtype} has {len(raw)} bytes")
    values = np.empty(0, dtype)
    values.__setstate__((1, shape, dtype, bool(by_columns), raw))  # type: ignore[arg-type]
    return values.view("|u1") != 0 if dtype.kind == "b" else values


def _reconstruct(args: tuple) -> Array:
    """_reconstruct(ndarray, (0,), b'b'): an array that is to be filled."""
    known = len(args) == 3 and type(args[0]) is Name and args[0].name == "numpy.ndarray"
    if not known or type(args[1]) is not tuple or args[1] != (0,) or args[2] not in (b"b", "b"):
        raise Refused("it makes an array in another way than numpy writes; refused, nothing of it was run")
    return Array()


def _frombuffer(args: tuple) -> Array:
    """_frombuffer(bytes, dtype, shape, order): how numpy writes arrays in pickle's protocol 5."""
    if len(args) != 4 or type(args[3]) is not str or args[3] not in ("C", "F"):
        raise Malformed(_ODD_ARRAY)
    return Array(_numbers(args[0], args[1], args[2], args[3] == "F"))


def _scalar(args: tuple) -> Any:
    """scalar(dtype, bytes): a number."""
    if len(args) != 2:
        raise Malformed("a number is described by other values than numpy writes")
    return _numbers(args[1], args[0], ())[()]


def _dtype(args: tuple) -> np.dtype:
    """dtype('f4', False, True)."""
    if len(args) != 3 or type(args[0]) is not str or any(type(flag) not in (bool, int) for flag in args[1:]):
        raise Refused("it describes a type of array in another way than numpy writes; refused, nothing of it was run")
    if args[0] not in TYPES:
        raise Refused(f"it holds an array of type {shown(args[0])}, which is not of numbers; refused, nothing of it was run")
    return np.dtype(args[0])


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


def _encode(args: tuple) -> bytes:
    """encode(text, 'latin1'): bytes, in pickle's protocol 2."""
    if len(args) != 2 or type(args[0]) is not str or args[1] not in ("latin1", "latin-1"):
        raise Malformed("it encodes something else than bytes in Latin-1")
    try:
        return args[0].encode("latin-1")
    except UnicodeEncodeError as error:
        raise Malformed("bytes in it are written as text beyond Latin-1") from error


_MAKERS = {
    "numpy.ndarray": _ndarray,
    "numpy.dtype": _dtype,
    "builtins.tuple": _tuple,
    "builtins.bytes": _bytes,
    "_codecs.encode": _encode,
    "collections.OrderedDict": ordered_dict,
}
for _core in ("numpy.core", "numpy._core"):  # numpy 1's spelling, and numpy 2's
    _MAKERS |= {f"{_core}.multiarray._reconstruct": _reconstruct, f"{_core}.multiarray.scalar": _scalar}
    _MAKERS[f"{_core}.numeric._frombuffer"] = _frombuffer
NAMES = {name: Name(name, make) for name, make in _MAKERS.items()}
