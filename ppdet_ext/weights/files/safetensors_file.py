"""Files of the safetensors library, with its errors turned into ours."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open

from .class_names import Classes, classes_in_meta
from .opening import Malformed
from .torch_tensors import Storage, StoredTensor

MAX_HEADER = 16 << 20
Shapes = dict[str, tuple[int, ...]]


def open_safetensors(path: Path, stack: contextlib.ExitStack) -> tuple[Shapes, Callable[[str], np.ndarray], Classes | None]:
    """Shapes by name, a function that reads a tensor, and class names; the file is open as long as `stack`.

    Raises:
        Malformed: not such a file, or damaged.
    """
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
    if length > MAX_HEADER:
        raise Malformed(f"its header would have {length} bytes, more than {MAX_HEADER}; it is no safetensors file")
    try:
        file = stack.enter_context(safe_open(path, framework="numpy"))
        slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except SafetensorError as error:
        raise Malformed(f"it is no sound safetensors file ({error})") from error
    if not slices:
        raise Malformed("its table of tensors is empty")

    def read(name: str) -> np.ndarray:
        return _bfloat16(path, name) if slices[name].get_dtype() == "BF16" else file.get_tensor(name)

    return {name: tuple(part.get_shape()) for name, part in slices.items()}, read, _classes(file.metadata() or {})


def _classes(metadata: dict[str, str]) -> Classes | None:
    """Those under `CLASSES`, a list in JSON: a safetensors file's metadata is text. None if there are none."""
    with contextlib.suppress(ValueError, RecursionError):
        return classes_in_meta({"CLASSES": json.loads(metadata.get("CLASSES", "null"))})
    return None


def _bfloat16(path: Path, name: str) -> np.ndarray:
    """A tensor of a type numpy lacks, as float32, from a file whose header the library has checked."""
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        entry = json.loads(stream.read(length))[name]
        begin, end = entry["data_offsets"]
        storage = Storage(name, "bfloat16", (end - begin) // 2, 8 + length + begin)
        return StoredTensor(storage, 0, (storage.count,), (1,)).read(stream).reshape(entry["shape"])
