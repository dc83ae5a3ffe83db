"""Opening a file of named tensors: torch's formats, or safetensors. Nothing in it is run, tensors are read one by one.

What a training has put around the network's tensors is taken off here: the table that holds the state_dict, the prefixes of
wrapping modules.
"""

import contextlib
import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from .class_names import Classes, classes_in_meta
from .model_graph import is_module, static_padding, tensors_of
from .opening import ZIP_MAGIC, Refused, check_name, is_safetensors, is_torch, naming, opened
from .safetensors_file import open_safetensors
from .torch_formats import load_legacy, load_zip
from .torch_tensors import StoredTensor
from .unpickle import Unlisted

SUFFIXES = (".pth", ".pt", ".safetensors")
# Where runners keep the network: mmdetection's and Lightning's, catalyst's, detectron2's, others'.
STATE_KEYS = ("state_dict", "model_state_dict", "model", "net", "model_state")
# Prefixes of modules around the network: DataParallel's, torch.compile's, Lightning modules' usual ones.
WRAPPERS = ("module.", "_orig_mod.", "model.", "net.", "network.")
# A Lightning module may call its network anything; where SMP's head is in the end, that of a network of SMP begins.
_SMP_INSIDE = re.compile(r"([^.]+\.)(.+\.)?(segmentation_head\.0|decoder\.final_conv)\.weight")
# What SMP's encoders of timm ("tu-…") put around timm's network.
_TIMM_INSIDE = re.compile(r"^((.+\.)?encoder\.)model\.")
Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Origin:
    """What is known of how a file came about.

    Args:
        layout: 'zip', 'legacy' (torch's format before 1.6), 'script' (TorchScript), 'old script' (before torch 1.3) or
            'safetensors'.
        padding: EfficientNet's, 'same' or 'nominal', where a pickled model tells it.
    """

    layout: str
    padding: str | None = None


@dataclass(frozen=True)
class TensorFile:
    """Named tensors of an open file.

    Args:
        path: the file, for messages.
        shapes: name (without the prefixes of wrapping modules) -> shape.
        values: name -> array.
        notes: what else the file holds and is not read, a line each.
        classes: what the file says its classes are called.
        origin: how it came about.
        outside: names that a wrapping module has beside the network.
    """

    path: Path
    shapes: Shapes
    values: Callable[[str], np.ndarray]
    notes: list[str]
    classes: Classes | None
    origin: Origin = field(default_factory=lambda: Origin("zip"))
    outside: frozenset[str] = frozenset()

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
                shapes, read, classes = open_safetensors(path, stack)
                file = _unwrapped(TensorFile(path, shapes, read, [], classes, Origin("safetensors")))
            else:
                file = _open_torch(path, stream, size, start)
        yield file


def _open_torch(path: Path, stream: BinaryIO, size: int, start: bytes) -> TensorFile:
    if not is_torch(start):
        other = ", but another pickle; for Paddle's use the suffix .pdparams" if start.startswith(b"\x80") else ""
        raise Refused(f"it is no checkpoint of torch{other}" if start else "it is empty")
    content, layout = _load(load_zip if start.startswith(ZIP_MAGIC) else load_legacy, stream, size)
    key = _key_of_state(content)
    table = content[key] if key else content
    notes = _notes(content, key) if key else []
    padding = None
    if is_module(table):
        notes.append(f"it is a whole model, {table.name.removeprefix('__torch__.')}; its tensors are read, nothing of its code")
        padding, table = static_padding(table), tensors_of(table)
        if not table and layout == "script":
            raise Refused("it is TorchScript whose tensors are constants of its program (torch.jit.freeze); save it unfrozen")
    tensors = _checked(table)
    shapes = {name: tensor.shape for name, tensor in tensors.items()}
    classes = classes_in_meta(content.get("meta")) if isinstance(content, dict) else None
    read = lambda name: tensors[name].read(stream)  # noqa: E731
    return _unwrapped(TensorFile(path, shapes, read, notes, classes, Origin(layout, padding)))


def _load(load: Callable[..., tuple[Any, str]], stream: BinaryIO, size: int) -> tuple[Any, str]:
    """The file's value: strictly as data, or else as a model."""
    try:
        return load(stream, size)
    except Unlisted:
        stream.seek(0)
        content, layout = load(stream, size, graph=True)
        key = _key_of_state(content)
        if not is_module(content[key] if key else content):
            raise
        return content, layout


def _key_of_state(content: Any) -> str | None:
    """Where in the file's value the network is, None if it is the value."""
    if not isinstance(content, dict):
        return None
    return next((key for key in STATE_KEYS if isinstance(content.get(key), dict) or is_module(content.get(key))), None)


def _notes(content: dict[str, Any], key: str) -> list[str]:
    """What else the file's value holds."""
    others = [ascii(name)[:40] for name in content if name not in (key, "meta")]
    notes = [f"not read: {', '.join(others[:10])}"] if others else []
    if "ema_state_dict" in content:
        notes.append("state_dict holds the averaged weights, as mmengine saves them; ema_state_dict the others")
    return notes


def _checked(table: Any) -> dict[str, StoredTensor]:
    """A table of tensors; Refused if it is anything else."""
    if not isinstance(table, dict):
        held = "single tensor" if type(table) is StoredTensor else type(table).__name__
        raise Refused(f"it holds a {held}; expected a state_dict or a model")
    if not table:
        raise Refused("its table of tensors is empty")
    for name, value in table.items():
        check_name(name)
        if type(value) is not StoredTensor:
            what = value.name if hasattr(value, "name") else type(value).__name__
            raise Refused(f"{ascii(name)[:80]} in its table of tensors is no tensor, but {what}")
    return dict(table)


def without_wrappers(names: Collection[str]) -> tuple[dict[str, str], frozenset[str]]:
    """Names without the prefixes of wrapping modules -> the file's, and those that a wrapper holds beside the network.

    'module.' is taken off wherever it stands; another prefix, or any one before a network of SMP, if more than half of the
    tensors begin with it.

    Raises:
        Refused: two tensors would share a name.
    """
    originals = _renamed({name: name for name in names}, {name: _TIMM_INSIDE.sub(r"\1", name) for name in names})
    outside: set[str] = set()
    again = True
    while again:
        again = False
        for prefix in (*WRAPPERS, *_prefixes_of_smp(originals)):
            inside = [name for name in originals if name.startswith(prefix)]
            if not inside or (prefix != WRAPPERS[0] and 2 * len(inside) <= len(originals)):
                continue
            again = True
            if prefix != WRAPPERS[0]:
                outside |= originals.keys() - set(inside)
            originals = _renamed(originals, {name: name.removeprefix(prefix) for name in originals})
    return originals, frozenset(outside)


def _prefixes_of_smp(names: Collection[str]) -> list[str]:
    return sorted({match[1] for name in names if (match := _SMP_INSIDE.fullmatch(name))})


def _renamed(originals: dict[str, str], names: dict[str, str]) -> dict[str, str]:
    """New name -> the file's, of name -> the file's and name -> new name. Refused if two tensors would share a name."""
    found: dict[str, str] = {}
    for name, original in originals.items():
        if found.setdefault(names[name], original) != original:
            raise Refused(f"{original} and {found[names[name]]} are the same tensor by name")
    return found


def _unwrapped(file: TensorFile) -> TensorFile:
    """The file under the network's own names."""
    for name in file.shapes:
        check_name(name)
    originals, outside = without_wrappers(file.shapes)
    shapes = {name: file.shapes[original] for name, original in originals.items()}
    read = lambda name: file.values(originals[name])  # noqa: E731
    return TensorFile(file.path, shapes, read, file.notes, file.classes, file.origin, outside)
