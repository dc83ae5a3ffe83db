"""Files of `paddle.save`, and things like them, put together opcode by opcode."""

import struct

from tests.weights.foreign.torch_files import name, number, numbers, text

PROTOCOL = b"\x80\x02"
VALUES = struct.pack("<2f", 1, 2)
TYPE_STATE = b"(K\x03" + text("<") + b"NNN" + number(-1) + number(-1) + b"K\x00t"


def raw(data: bytes) -> bytes:
    return b"B" + struct.pack("<I", len(data)) + data


def call(full: str, *arguments: bytes) -> bytes:
    return name(full) + b"(" + b"".join(arguments) + b"tR"


def dtype(kind: str = "f4", state: bytes = TYPE_STATE) -> bytes:
    return call("numpy.dtype", text(kind), b"\x89\x88") + state + b"b"


def blank(owner: str = "numpy.ndarray", shape: bytes = b"K\x00\x85") -> bytes:
    """An array that waits for its state."""
    return call("numpy._core.multiarray._reconstruct", name(owner), shape, raw(b"b"))


def array(
    shape: bytes = b"K\x02\x85",
    kind: bytes | None = None,
    data: bytes | None = None,
    by_columns: bytes = b"\x89",
    start: bytes = b"",
) -> bytes:
    """float32 [1, 2], or what the parts given make of it."""
    state = b"(K\x01" + shape + (kind or dtype()) + by_columns + (data or raw(VALUES)) + b"t"
    return (start or blank()) + state + b"b"


def table(*pairs: tuple[bytes, bytes]) -> bytes:
    """A whole file: a dictionary."""
    return PROTOCOL + b"}(" + b"".join(key + value for key, value in pairs) + b"u."


def one(value: bytes) -> bytes:
    """A file with that value under 'w'."""
    return table((text("w"), value))


def whole(value: bytes) -> bytes:
    """A file that is that value."""
    return PROTOCOL + value + b"."


def slots(**entries: bytes) -> bytes:
    """A file of an optimizer's state."""
    return table(*((text(key), value) for key, value in entries.items()))


def schedule(**entries: bytes) -> bytes:
    """A file of an optimizer's state with that learning-rate schedule."""
    inside = b"".join(text(key) + value for key, value in entries.items())
    return slots(LR_Scheduler=b"}(" + inside + b"u")


def fraction(value: float) -> bytes:
    return b"G" + struct.pack(">d", value)


__all__ = ["name", "number", "numbers", "text"]
