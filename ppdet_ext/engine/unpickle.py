"""Reading `.pdparams` and `.pdopt` files as data: a pickle reader that builds numpy arrays and plain containers only."""

import collections
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from ppdet_ext.errors import UserError

try:
    from numpy._core import multiarray, numeric
except ImportError:  # numpy 1
    from numpy.core import multiarray, numeric

NAME_TABLE = "StructuredToParameterName@@"
# numpy 2 writes 'numpy._core', numpy 1 'numpy.core'; either reads files of the other.
_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("builtins", "tuple"): tuple,
    ("__builtin__", "tuple"): tuple,
    ("collections", "OrderedDict"): collections.OrderedDict,
    **{(f"numpy.{core}.multiarray", "_reconstruct"): multiarray._reconstruct for core in ("core", "_core")},
    **{(f"numpy.{core}.multiarray", "scalar"): multiarray.scalar for core in ("core", "_core")},
    **{(f"numpy.{core}.numeric", "_frombuffer"): numeric._frombuffer for core in ("core", "_core")},
}


def _encode_latin1(text: str, encoding: str) -> bytes:
    """Stands in for `_codecs.encode`, by which old pickle protocols write bytes."""
    if encoding.replace("-", "").lower() != "latin1":
        raise pickle.UnpicklingError(f"bytes encoded as {encoding!r}")
    return text.encode("latin-1")


class _DataUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("_codecs", "encode"):
            return _encode_latin1
        if (module, name) not in _ALLOWED:
            raise UserError(f"it asks for {module}.{name}, which is not data; refused, nothing of it was run.")
        return _ALLOWED[module, name]


def _plain(value: Any) -> Any:
    """paddle writes a tensor inside a container as (name, array); keep the array."""
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], np.ndarray):
        return value[1]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def read_data_file(path: Path, with_names: bool = False) -> dict[str, Any]:
    """Content of a file written by `paddle.save(state_dict)`: name -> numpy array (or plain value).

    Args:
        with_names: keep paddle's table (under `NAME_TABLE`) of the names that optimizer states know the tensors by.

    Raises:
        UserError: the file is missing, truncated, not such a file, or wants anything but data.
    """
    try:
        with path.open("rb") as stream:
            content = _DataUnpickler(stream, encoding="latin1").load()
    except UserError as error:
        raise UserError(f"Weights file {path}: {error}") from error
    except OSError as error:
        raise UserError(f"Weights file {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged pickle raises nearly anything
        raise UserError(
            f"Weights file {path} ({path.stat().st_size} bytes) is truncated or damaged ({type(error).__name__}); "
            "copy it again or use an older checkpoint."
        ) from error
    if not isinstance(content, dict):
        raise UserError(f"Weights file {path} holds a {type(content).__name__}; expected a table of named tensors.")
    if not with_names:
        content.pop(NAME_TABLE, None)
    return {str(key): _plain(value) for key, value in content.items()}
