"""Torch files put together byte by byte, sound ones and others."""

import io
import struct
import zipfile
from collections.abc import Mapping

import numpy as np

MAGIC_NUMBER = 0x1950A86A20F9469CFC6C
VALUES = struct.pack("<4f", 1, 2, 3, 4)


def text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def number(value: int) -> bytes:
    raw = value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)
    return b"\x8a" + bytes([len(raw)]) + raw


def name(full: str) -> bytes:
    module, _, last = full.rpartition(".")
    return f"c{module}\n{last}\n".encode()


def numbers(values) -> bytes:
    return b"(" + b"".join(v if isinstance(v, bytes) else number(v) for v in values) + b"t"


def storage(key: str = "0", count: int = 4, kind: str = "torch.FloatStorage", view: bytes = b"") -> bytes:
    return b"(" + text("storage") + name(kind) + text(key) + text("cpu") + number(count) + view + b"tQ"


def tensor(offset: int = 0, size=(2, 2), stride=(2, 1), last: bytes = b"", of: bytes | None = None, **kwargs) -> bytes:
    """A tensor in opcodes; `of` replaces the storage."""
    inside = storage(**kwargs) if of is None else of
    arguments = inside + number(offset) + numbers(size) + numbers(stride) + b"\x89" + name("collections.OrderedDict") + b")R"
    return name("torch._utils._rebuild_tensor_v2") + b"(" + arguments + last + b"tR"


def table(*pairs: tuple[bytes, bytes]) -> bytes:
    """{"state_dict": {…}} in opcodes, with its STOP."""
    inside = b"".join(key + value for key, value in pairs)
    return b"\x80\x02}" + text("state_dict") + b"}(" + inside + b"us."


def one(value: bytes) -> bytes:
    """A table with that value under "w"."""
    return table((text("w"), value))


def zipped(pickled: bytes, entries: dict[str, bytes] | None = None, top: str = "archive", method: int = 0) -> bytes:
    """A file in torch's zip format."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for key, content in {"data.pkl": pickled, **({"data/0": VALUES} if entries is None else entries)}.items():
            archive.writestr(f"{top}/{key}", content)
    return stream.getvalue()


def legacy(
    pickled: bytes,
    keys: bytes = b"](" + text("0") + b"e",
    storages: bytes = struct.pack("<q", 4) + VALUES,
    magic: bytes = number(MAGIC_NUMBER),
    protocol: int = 1001,
    little: bytes = b"\x88",
) -> bytes:
    """A file in torch's older format."""
    head = b"\x80\x02" + magic + b".\x80\x02" + number(protocol) + b".\x80\x02}" + text("little_endian") + little + b"s."
    return head + pickled + b"\x80\x02" + keys + b"." + storages


GOOD = one(tensor())


def older_checkpoint(values: Mapping[str, np.ndarray]) -> bytes:
    """A state_dict as torch before 1.6 laid it out."""
    keys = {key: str(index) for index, key in enumerate(values)}
    kinds = {key: f"torch.{'Long' if value.dtype.kind == 'i' else 'Float'}Storage" for key, value in values.items()}
    strides = {key: [step // value.itemsize for step in value.strides] for key, value in values.items()}
    pairs = b"".join(
        text(key) + tensor(0, value.shape, strides[key], key=keys[key], count=value.size, kind=kinds[key])
        for key, value in values.items()
    )
    storages = b"".join(struct.pack("<q", value.size) + value.tobytes() for value in values.values())
    return legacy(b"\x80\x02}(" + pairs + b"u.", b"](" + b"".join(map(text, keys.values())) + b"e", storages)
