"""Opening a file of named tensors: torch's two formats, or safetensors. Nothing in it is run, tensors are read one by one."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ppdet_ext.weights.mmdet.names import canonical

from .class_names import Classes, classes_in_meta
from .opening import ZIP_MAGIC, Refused, check_name, is_safetensors, is_torch, naming, opened
from .safetensors_file import open_safetensors
from .torch_legacy import load_legacy
from .torch_tensors import StoredTensor
from .torch_zip import load_zip

SUFFIXES = (".pth", ".pt", ".safetensors")
STATE_KEYS = ("state_dict", "model")


@dataclass(frozen=True)
class TensorFile:
    """Named tensors of an open file.

    Args:
        path: the file, for messages.
        shapes: name (as mmdetection writes it now) -> shape.
        values: name -> array.
        notes: what else the file holds and is not read, a line each.
        classes: what the file says its classes are called.
    """

    path: Path
    shapes: dict[str, tuple[int, ...]]
    values: Callable[[str], np.ndarray]
    notes: list[str]
    classes: Classes | None

    def read(self, name: str) -> np.ndarray:
        """A tensor's values. UserError if the file is damaged there."""
        with naming(self.path):
            return self.values(name)


@contextlib.contextmanager
def open_tensors(path: str | Path) -> Iterator[TensorFile]:
    """Open a `.pth` of torch or a `.safetensors`, told apart by content.

    Raises:
        UserError: absent, damaged, no such file, asking for anything but data, or without a table of tensors.
    """
    path = Path(path)
    with contextlib.ExitStack() as stack:
        with naming(path):
            stream, size, start = stack.enter_context(opened(path))
            if path.suffix == ".safetensors" or is_safetensors(start):
                file = _named(path, *open_safetensors(path, stack))
            else:
                file = _open_torch(path, stream, size, start)
        yield file


def _open_torch(path: Path, stream: BinaryIO, size: int, start: bytes) -> TensorFile:
    if not is_torch(start):
        other = ", but another pickle; for Paddle's use the suffix .pdparams" if start.startswith(b"\x80") else ""
        raise Refused(f"it is no checkpoint of torch{other}" if start else "it is empty")
    content = (load_zip if start.startswith(ZIP_MAGIC) else load_legacy)(stream, size)
    tensors, notes = _state_dict(content)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    return _named(path, shapes, lambda name: tensors[name].read(stream), classes_in_meta(content.get("meta")), notes)


def _state_dict(content: Any) -> tuple[dict[str, StoredTensor], list[str]]:
    """The table of tensors of a file's value, and notes on the rest."""
    if not isinstance(content, dict):
        raise Refused(f"it holds a {type(content).__name__}; expected a state_dict")
    key = next((key for key in STATE_KEYS if isinstance(content.get(key), dict)), None)
    others = [ascii(name)[:40] for name in content if name not in (key, "meta")] if key else []
    notes = [f"not read: {', '.join(others[:10])}"] if others else []
    if "ema_state_dict" in content:
        notes.append("state_dict holds the averaged weights, as mmengine saves them; ema_state_dict the others")
    table = content[key] if key else content
    if not table:
        raise Refused("its table of tensors is empty")
    for name, value in table.items():
        check_name(name)
        if type(value) is not StoredTensor:
            what = value.name if hasattr(value, "name") else type(value).__name__
            raise Refused(f"{ascii(name)[:80]} in its table of tensors is no tensor, but {what}")
    return dict(table), notes


def _named(
    path: Path,
    listed: dict[str, tuple[int, ...]],
    read: Callable[[str], np.ndarray],
    classes: Classes | None,
    notes: Sequence[str] = (),
) -> TensorFile:
    """The file under today's names; two tensors must not come to share one."""
    originals: dict[str, str] = {}
    for name in listed:
        check_name(name)
        if originals.setdefault(canonical(name), name) != name:
            raise Refused(f"{name} and {originals[canonical(name)]} are the same tensor by name")
    shapes = {name: listed[original] for name, original in originals.items()}
    return TensorFile(path, shapes, lambda name: read(originals[name]), list(notes), classes)
