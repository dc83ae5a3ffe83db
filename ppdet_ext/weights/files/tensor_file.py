"""Opening a file of named tensors: torch's two formats, or safetensors. Nothing in it is run, tensors are read one by one."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ppdet_ext.errors import UserError
from ppdet_ext.weights.mmdet.names import canonical

from .safetensors_file import open_safetensors
from .stored_tensor import Malformed, StoredTensor
from .torch_legacy import is_legacy, load_legacy
from .torch_zip import MAGIC, load_zip

SUFFIXES = (".pth", ".pt", ".safetensors")
STATE_KEYS = ("state_dict", "model")
LONGEST_NAME = 300


class TensorFile:
    """Named tensors of an open file.

    Args:
        path: the file, for messages.
        shapes: name (as mmdetection writes it now) -> shape.
        read: name -> array.
        notes: what else the file holds and is not read, a line each.
    """

    def __init__(
        self, path: Path, shapes: dict[str, tuple[int, ...]], read: Callable[[str], np.ndarray], notes: list[str]
    ) -> None:
        self.path, self.shapes, self.notes = path, shapes, notes
        self._read = read

    def read(self, name: str) -> np.ndarray:
        """A tensor's values. UserError if the file is damaged there."""
        with naming(self.path):
            return self._read(name)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Whatever is wrong with the file becomes a UserError that names it."""
    try:
        yield
    except UserError:
        raise
    except Malformed as error:
        raise UserError(f"Weights file {path}: {error}.") from error
    except OSError as error:
        raise UserError(f"Weights file {path} cannot be read: {error.strerror or error}") from error
    except Exception as error:  # a damaged file raises nearly anything
        raise UserError(
            f"Weights file {path} is damaged ({type(error).__name__}: {str(error)[:200]}); copy it again."
        ) from error


@contextlib.contextmanager
def open_tensors(path: str | Path) -> Iterator[TensorFile]:
    """Open a `.pth` of torch or a `.safetensors`, told apart by content.

    Raises:
        UserError: absent, damaged, no such file, asking for anything but data, or without a table of tensors.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with naming(path):
            if not path.is_file():  # opening a named pipe would wait for ever
                raise Malformed("it is no ordinary file" if path.exists() else "it does not exist")
            stream = stack.enter_context(path.open("rb"))
            start = stream.read(64)
            if path.suffix == ".safetensors":
                shapes, read = open_safetensors(path, stack)
                file = _named(path, {name: (name, shape) for name, shape in shapes.items()}, read, [])
            else:
                file = _open_torch(path, stream, path.stat().st_size, start)
        yield file


def _open_torch(path: Path, stream: BinaryIO, size: int, start: bytes) -> TensorFile:
    if start.startswith(MAGIC):
        content = load_zip(stream, size)
    elif is_legacy(start):
        content = load_legacy(stream, size)
    else:
        raise Malformed(f"it is no checkpoint of torch{_what_instead(start)}")
    tensors, notes = _state_dict(content)
    listed = {name: (name, tensor.shape) for name, tensor in tensors.items()}
    return _named(path, listed, lambda name: tensors[name].read(stream), notes)


def _what_instead(start: bytes) -> str:
    """What a file is, by its first bytes."""
    if not start:
        return ": it is empty"
    if start.startswith(b"version https://git-lfs"):
        return ", but a pointer of Git LFS; fetch the file itself (git lfs pull)"
    if start.lstrip().startswith(b"<"):
        return ", but a web page; download it again"
    if start.startswith(b"\x80"):
        return ", but another pickle; for Paddle's use the suffix .pdparams"
    return ""


def _state_dict(content: Any) -> tuple[dict[str, StoredTensor], list[str]]:
    """The table of tensors of a file's value, and notes on the rest."""
    if not isinstance(content, dict):
        raise Malformed(f"it holds a {type(content).__name__}; expected a state_dict")
    key = next((key for key in STATE_KEYS if isinstance(content.get(key), dict)), None)
    others = [ascii(name)[:40] for name in content if name not in (key, "meta")] if key else []
    notes = [f"not read: {', '.join(others[:10])}"] if others else []
    if "ema_state_dict" in content:
        notes.append("state_dict holds the averaged weights, as mmengine saves them; ema_state_dict the others")
    table = content[key] if key else content
    if not table:
        raise Malformed("its table of tensors is empty")
    for name, value in table.items():
        if type(name) is not str:
            raise Malformed(f"its table of tensors has a name of type {type(name).__name__}")
        if type(value) is not StoredTensor:
            what = value.name if hasattr(value, "name") else type(value).__name__
            raise Malformed(f"{ascii(name)[:80]} in its table of tensors is no tensor, but {what}")
    return dict(table), notes


def _check_name(name: str) -> None:
    if len(name) > LONGEST_NAME or not name.isprintable():
        raise Malformed(f"its table of tensors has a name {ascii(name)[:40]}…")


def _named(
    path: Path, listed: dict[str, tuple[str, tuple[int, ...]]], read: Callable[[str], np.ndarray], notes: list[str]
) -> TensorFile:
    """The file under today's names; two tensors must not come to share one."""
    originals: dict[str, str] = {}
    for name in listed:
        _check_name(name)
        if originals.setdefault(canonical(name), name) != name:
            raise Malformed(f"{name} and {originals[canonical(name)]} are the same tensor by name")
    shapes = {name: listed[original][1] for name, original in originals.items()}
    return TensorFile(path, shapes, lambda name: read(originals[name]), notes)
