"""TensorBoard's event files: scalars written and read back without TensorFlow.

A file is records of TFRecord's form: length (uint64), its checksum, data, its checksum; all little-endian, checksums are
masked CRC-32C. The data is a protocol buffer, `Event` of tensorboard/compat/proto/event.proto; scalars need five fields.
"""

import os
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

from .atomic import write_atomic

VERSION = "brain.Event:2"  # the first record of every file
PREFIX = "events.out.tfevents"
_LENGTH = struct.Struct("<Q")
_CHECKSUM = struct.Struct("<I")


class Scalars(NamedTuple):
    """What one record holds: the values of a step by name. Seconds since 1970."""

    step: int
    values: dict[str, float]
    seconds: float = 0.0


class EventFile:
    """Appends scalars to a new file in a folder; whoever watches the folder sees each as soon as it is written.

    Raises: OSError where it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # Viewers read files in the order of their names, which begin with the time.
        taken = [int(path.name.split(".")[3]) for path in event_files(folder) if path.name.split(".")[3].isdigit()]
        now = max([int(time.time()), *(number + 1 for number in taken)])
        self._stream: IO[bytes] = (folder / f"{PREFIX}.{now:010d}.{os.getpid()}.ppdet_ext").open("xb")
        self._write(_double(1, time.time()) + _bytes(3, VERSION.encode()))

    def begin(self, step: int) -> None:
        """Note that a run begins or goes on at `step`: viewers forget what they have seen of later ones."""
        self._write(_double(1, time.time()) + _varint(2, step) + _bytes(7, _varint(1, 1)))

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Write the values of a step by name."""
        self._write(encoded(Scalars(step, dict(values), time.time())))

    def _write(self, event: bytes) -> None:
        self._stream.write(framed(event))
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()


def event_files(folder: Path) -> list[Path]:
    """The event files of a folder, the oldest first."""
    return sorted(folder.glob(f"{PREFIX}.*"))


def forget(folder: Path, is_repeated: Callable[[int, str], bool]) -> None:
    """Take records of which `is_repeated(step, name)` out of the files of a folder: those that a resumed run writes again.

    Files that have none of them stay as they are, for a viewer may have them open.
    """
    for path in event_files(folder):
        events = list(read_events(path))
        kept = [event for event in events if not any(is_repeated(event.step, name) for name in event.values)]
        records = [framed(_double(1, 0.0) + _bytes(3, VERSION.encode())), *(framed(encoded(event)) for event in kept)]
        if not kept:
            path.unlink()
        elif len(kept) < len(events):
            write_atomic(path, lambda aside, records=records: aside.write_bytes(b"".join(records)))  # type: ignore[misc]


def read_events(path: Path) -> Iterator[Scalars]:
    """The scalars of a file, up to the first record that is damaged or cut off; records without scalars are passed over."""
    data, place = path.read_bytes(), 0
    while place + 12 <= len(data):
        (length,) = _LENGTH.unpack_from(data, place)
        event = data[place + 12 : place + 12 + length]
        # Lengths of a damaged file may be anything.
        if len(event) < length or data[place : place + 16 + length] != framed(event):
            return
        place += 16 + length
        if values := dict(_values(event)):
            steps = [number for field, number, _ in _fields(event) if field == 2]
            times = [struct.unpack("<d", raw)[0] for field, _, raw in _fields(event) if field == 1]
            yield Scalars(steps[0] if steps else 0, values, times[0] if times else 0.0)


def encoded(scalars: Scalars) -> bytes:
    """The `Event` of some scalars."""
    values = b"".join(
        _bytes(1, _bytes(1, name.encode()) + b"\x15" + struct.pack("<f", value)) for name, value in scalars.values.items()
    )
    return _double(1, scalars.seconds) + _varint(2, scalars.step) + _bytes(5, values)


def framed(event: bytes) -> bytes:
    """An event as a record of the file."""
    length = _LENGTH.pack(len(event))
    return length + _CHECKSUM.pack(_masked(length)) + event + _CHECKSUM.pack(_masked(event))


def _values(event: bytes) -> Iterator[tuple[str, float]]:
    for field, _, summary in _fields(event):
        for _, _, value in _fields(summary) if field == 5 else ():
            own = {inner: raw for inner, _, raw in _fields(value)}
            if 1 in own and len(own.get(2, b"")) == 4:
                yield own[1].decode("utf-8", "replace"), struct.unpack("<f", own[2])[0]


def _fields(message: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Number of each field of a protocol buffer, and its value: an integer of varints, bytes of all others."""
    place = 0
    while place < len(message):
        key, place = _read_varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = _read_varint(message, place)
            yield key >> 3, value, b""
            continue
        length, place = _read_varint(message, place) if kind == 2 else ({1: 8, 5: 4}[kind], place)
        yield key >> 3, 0, message[place : place + length]
        place += length


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[place]
        value, shift, place = value | (byte & 127) << shift, shift + 7, place + 1
        if byte < 128:
            return value, place


def _varint(field: int, value: int) -> bytes:
    return bytes([field << 3]) + _number(value)


def _number(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])


def _double(field: int, value: float) -> bytes:
    return bytes([field << 3 | 1]) + struct.pack("<d", value)


def _bytes(field: int, value: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _number(len(value)) + value


def _crc_table() -> list[int]:
    """CRC-32C (Castagnoli), reflected: 0x82F63B78."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc_table()


def crc32c(data: bytes) -> int:
    """The checksum of some bytes."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = _TABLE[(crc ^ byte) & 255] ^ crc >> 8
    return crc ^ 0xFFFFFFFF


def _masked(data: bytes) -> int:
    crc = crc32c(data)
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
