"""Weights that need not travel: the same numbers on every machine, from a seed, so that an ONNX file goes without them.

`Drawn` says what a tensor is made of; `strip` takes out of an ONNX file what was drawn, `fill` puts it back and checks each
tensor's SHA-256. What was not drawn stays in the file. Needs numpy and onnx alone.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

_LEAST = 16384  # numbers of a tensor that is worth leaving out


@dataclass(frozen=True)
class Drawn:
    """A tensor of uniform numbers.

    Attributes:
        shape: of it.
        seed: of PCG64, whose raw integers every numpy gives alike.
        scale: standard deviation.
        half: whether they are rounded to float16.
    """

    shape: tuple[int, ...]
    seed: int
    scale: float
    half: bool = False

    def values(self) -> np.ndarray:
        """The tensor."""
        raw = np.random.PCG64(self.seed).random_raw(int(np.prod(self.shape)))
        # 24 bits are a float32's own, so neither the product nor the difference depends on a machine's rounding.
        unit = (raw >> np.uint64(40)).astype(np.float32) * np.float32(2.0**-24) - np.float32(0.5)
        values = (unit * np.float32(self.scale * 12**0.5)).reshape(self.shape)
        return values.astype(np.float16) if self.half else values


def digest(values: np.ndarray) -> str:
    """SHA-256 of a tensor's bytes."""
    return hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()


def drawn_for(name: str, values: np.ndarray) -> Drawn | None:
    """What stands for a tensor, of the same spread; None of one that is small."""
    if values.size < _LEAST or values.dtype != np.float32:
        return None
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    return Drawn(tuple(values.shape), seed, float(np.float32(values.std())))


def strip(source: Path, target: Path, known: Mapping[str, Drawn]) -> int:
    """Write an ONNX file without the tensors that were drawn, and beside it (`.json`) what they are.

    Args:
        source, target: ONNX files.
        known: digest of a tensor -> what it was drawn from.

    Returns:
        Bytes of tensors that stay in it.
    """
    import onnx

    model, table, left = onnx.load(str(source)), {}, 0
    for name, tensor in tensors(model):
        sha256 = hashlib.sha256(tensor.raw_data).hexdigest()
        if sha256 in known:
            table[name] = {**asdict(known[sha256]), "sha256": sha256}
            tensor.raw_data = b""
        else:
            left += len(tensor.raw_data)
    onnx.save(model, str(target))
    target.with_suffix(".json").write_text(json.dumps(table))
    return left


def fill(source: Path) -> Any:
    """The ONNX model that `strip` has written, its tensors drawn anew. ValueError for other numbers than were left out."""
    import onnx

    model, table = onnx.load(str(source)), json.loads(source.with_suffix(".json").read_text())
    for name, tensor in tensors(model):
        if name in table:
            entry = dict(table[name])
            sha256 = entry.pop("sha256")
            tensor.raw_data, own = _drawn(Drawn(**{**entry, "shape": tuple(entry["shape"])}))
            if own != sha256:
                raise ValueError(f"{source}: {name} is drawn otherwise here")
    return model


_DRAWN: dict[Drawn, tuple[bytes, str]] = {}  # models share their weights


def _drawn(own: Drawn) -> tuple[bytes, str]:
    """Bytes and their digest."""
    if own not in _DRAWN:
        values = own.values()
        _DRAWN[own] = values.tobytes(), digest(values)
    return _DRAWN[own]


def tensors(model: Any) -> list[tuple[str, Any]]:
    """Name and tensor of each constant and initializer; paddle2onnx writes weights as constants."""
    constants = [(node.output[0], node.attribute[0].t) for node in model.graph.node if node.op_type == "Constant"]
    return [*constants, *((one.name, one) for one in model.graph.initializer)]
